"""`--serving` writes the versions of a model that TensorFlow Serving loads."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from export_policies import build

from baselines_ppo.export import command as export
from baselines_ppo.export.targets import next_version

SERVER = "tensorflow_model_server"
START_SECONDS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return (policy, the directory of its served model)."""
    folder = tmp_path_factory.mktemp("serving")
    pi = build("box_of_float64")[0]
    pi.save(folder / "policy.safetensors")
    assert export.main([str(folder), str(folder / "robot"), "--serving"]) == 0
    return pi, folder / "robot"


def test_the_layout_is_that_of_tensorflow_serving(model):
    """MODEL/1/saved_model.pb and MODEL/1/variables, and `serving_default`, which a request without a signature gets."""
    pi, folder = model
    assert [entry.name for entry in folder.iterdir()] == ["1"]
    assert (folder / "1" / "saved_model.pb").is_file() and (folder / "1" / "variables").is_dir()
    obs = np.zeros((2, 5))
    found = tf.saved_model.load(str(folder / "1")).signatures["serving_default"](observation=tf.constant(obs))
    np.testing.assert_allclose(found["action"], pi.act(False, obs)[0], rtol=1e-5, atol=1e-5)


def test_a_later_export_is_the_next_version(tmp_path):
    assert next_version(tmp_path / "new") == tmp_path / "new" / "1"
    for name in ("2", "10", "notes", ".1.part"):
        (tmp_path / "old" / name).mkdir(parents=True)
    assert next_version(tmp_path / "old") == tmp_path / "old" / "11"


@pytest.fixture
def address(model):
    """Return the address of the model on a running server."""
    program = shutil.which(SERVER)
    if program is None:
        pytest.skip(f"{SERVER} is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--rest_api_port={port}", "--port=0", "--model_name=robot", f"--model_base_path={model[1]}"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v1/models/robot"
    finally:
        process.kill()
        process.wait()


def reply_to(address, request):
    """Return the server's reply to a request, as JSON; waits until the server has started."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            data = json.dumps(request).encode()
            with urllib.request.urlopen(urllib.request.Request(address, data), timeout=START_SECONDS) as reply:
                return json.load(reply)
        assert time.monotonic() < deadline, f"{SERVER} does not answer"
        time.sleep(0.2)


def test_a_server_returns_the_actions_of_the_policy(model, address):
    pi = model[0]
    rng = np.random.default_rng(0)
    obs = 1000 + rng.standard_normal((4, 5))
    outputs = reply_to(f"{address}:predict", {"inputs": {"observation": obs.tolist()}})["outputs"]
    np.testing.assert_allclose(outputs["action"], pi.act(False, obs)[0], rtol=1e-5, atol=1e-5)
    inputs = {"observation": obs.tolist(), "noise": np.zeros((4, 3)).tolist()}
    outputs = reply_to(f"{address}:predict", {"signature_name": "sample", "inputs": inputs})["outputs"]
    np.testing.assert_allclose(outputs["action"], pi.act(False, obs)[0], rtol=1e-5, atol=1e-5)
