"""Run by test_new_setting.py in a copy of the packages in which PPOSettings has a further field, `kl_coef`.

Prints one JSON object with what each part of the program knows of the setting. Arguments: a directory for runs, and the
directory of the copy.
"""

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path

from baselines_ppo.__main__ import main
from baselines_ppo.plot.grouping import group_runs, load
from baselines_ppo.sweep.command import main as sweep
from common.runtime.tf_import import import_tensorflow

RUNS, COPY = Path(sys.argv[1]), Path(sys.argv[2])
TASK = ["--env", "CartPole-v1", "--preset", "classic"]
SHORT = ["--timesteps-per-actorbatch", "64", "--optim-batchsize", "32", "--optim-epochs", "2", "--hid-size", "4"]
QUIET = ["--max-iters", "2", "--checkpoint-every", "1", "--report", "false", "--quiet"]


def call(command, *words):
    """(exit status, stdout, stderr) of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command([str(word) for word in words])
        except SystemExit as stopped:
            status = stopped.code
    return status, out.getvalue(), err.getvalue()


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def settings_page():
    """The page of settings, as it is generated in the copy."""
    spec = importlib.util.spec_from_file_location("settings_page", COPY / ".ci" / "settings_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.render(module.PAGE.read_text(encoding="utf-8"))


found = {
    "help": " ".join(call(main, "--help")[1].split()),
    "invalid": call(main, *TASK, "--kl-coef", "-1", "--print-config")[2],
    "printed": json.loads(call(main, *TASK, "--kl-coef", "0.25", "--print-config")[1])["settings"]["kl_coef"],
    "sweep": call(sweep, *TASK, "--kl-coef", "0", "0.5", "--dry-run", "--sweep-dir", RUNS / "sweep")[1].splitlines(),
    "page": settings_page().split("### `kl_coef`\n")[1].split("### ")[0].split("\n"),
}
import_tensorflow(threads=1)
from common.policies.base import Policy  # noqa: E402

Policy.xla = False  # compilation takes longer than these trainings
# before the first iteration the KL is 0, so that a penalty has an effect from the second minibatch on
for name in ("0.0", "50.0"):
    found[f"trained {name}"] = call(main, *TASK, *SHORT, *QUIET, "--kl-coef", name, "--run-dir", RUNS / name)
found["stored"] = {name: config_of(RUNS / name)["settings"]["kl_coef"] for name in ("0.0", "50.0")}
found["policies"] = [(RUNS / name / "policy" / "policy.safetensors").read_bytes().hex() for name in ("0.0", "50.0")]
found["curves"] = sorted(group_runs(load([RUNS / "0.0", RUNS / "50.0"])[0])["CartPole-v1"])
found["resumed with another value"] = call(main, "--run-dir", RUNS / "50.0", "--resume", "--kl-coef", "1")
# a run from before there was the setting
older = config_of(RUNS / "0.0")
del older["settings"]["kl_coef"], older["typed"]["kl_coef"]
(RUNS / "0.0" / "config.json").write_text(json.dumps(older))
found["resumed from before"] = call(main, "--run-dir", RUNS / "0.0", "--resume", "--max-iters", "3")
found["filled in"] = config_of(RUNS / "0.0")["settings"]["kl_coef"]
print(json.dumps(found))
