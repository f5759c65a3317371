"""CnnPolicy's choice of the image axis that holds the channels."""

import json

import gymnasium as gym
import numpy as np
import pytest
from catch_env import Catch, images, random_images

from baselines_ppo import CnnPolicy
from baselines_ppo.policy_registry import load_policy
from common.errors import UserError
from common.policies.files import FORMAT
from common.storage.array_files import save_arrays

DISCRETE = gym.spaces.Discrete(6)
ATARI = (4, 84, 84)


@pytest.mark.parametrize(
    "shape, kind, first",
    [
        ((84, 84, 4), "large", False),
        ((4, 84, 84), "large", True),
        ((210, 160, 3), "large", False),
        ((3, 84, 84), "large", True),
        ((84, 84, 12), "large", False),
        ((96, 64, 3), "large", False),
        ((35, 84, 84), "large", True),
        ((40, 36, 35), "large", False),
        ((1, 20, 20), "small", True),
    ],
)
def test_the_axis_too_short_for_pixels_holds_the_channels(shape, kind, first):
    pi = CnnPolicy("pi", images(*shape), DISCRETE, kind=kind)
    assert pi.settings()["channels"] == ("first" if first else "last")
    assert pi.weights["conv1/w"].shape[2] == (shape[0] if first else shape[2])


@pytest.mark.parametrize(
    "shape, kind",
    [
        ((64, 40, 40), "large"),
        ((36, 36, 48), "large"),
        ((84, 84, 84), "large"),
        ((40, 60, 64), "large"),
        ((24, 84, 84), "small"),
    ],
)
def test_if_both_axes_could_hold_the_channels_the_setting_is_required(shape, kind):
    with pytest.raises(
        UserError,
        match=rf"may have {shape[0]} channels first or {shape[2]} channels last; "
        "set channels='first' or channels='last'",
    ):
        CnnPolicy("pi", images(*shape), DISCRETE, kind=kind)
    for channels, axis in (("first", 0), ("last", 2)):
        if min(shape[1:] if axis == 0 else shape[:2]) >= (36 if kind == "large" else 20):
            pi = CnnPolicy("pi", images(*shape), DISCRETE, kind=kind, channels=channels)
            assert (
                pi.weights["conv1/w"].shape[2] == shape[axis]
                and pi.act(False, random_images(pi.ob_space, 1)[0])[1].shape == ()
            )


def test_channels_first_by_the_setting_computes_what_channels_last_computes():
    """Images with more channels than pixels on a side."""
    first, last = (
        CnnPolicy("pi", images(*shape), DISCRETE, kind="small", channels=channels)
        for shape, channels in (((64, 40, 40), "first"), ((40, 40, 64), "last"))
    )
    obs = random_images(first.ob_space, 2)
    for x, y in zip(first.forward(obs), last.forward(obs.transpose(0, 2, 3, 1))):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("channels", ["both", "FIRST", 1, True, ["first"]], ids=str)
def test_another_value_of_channels_is_refused(channels):
    with pytest.raises(UserError, match="invalid channels=.*: must be one of first, last, smaller"):
        CnnPolicy("pi", images(*ATARI), DISCRETE, channels=channels)


def test_an_axis_that_leaves_too_few_pixels_is_named():
    with pytest.raises(UserError, match=r"images of \(4, 84, 84\), with their channels last, are too small"):
        CnnPolicy("pi", images(*ATARI), DISCRETE, channels="last")


@pytest.mark.parametrize("shape, axis", [((64, 84, 84), 0), (ATARI, 0), ((84, 84, 40), 2)])
def test_a_file_without_the_setting_loads_as_before(shape, axis, tmp_path):
    """Older versions took the smaller axis for the channels, even if both were possible."""
    pi = CnnPolicy("pi", images(*shape), DISCRETE, kind="small", channels="smaller")
    assert pi.weights["conv1/w"].shape[2] == shape[axis]
    arrays, spec = pi.state(), pi.spec()
    del spec["settings"]["channels"]
    save_arrays(tmp_path / "old.safetensors", arrays, {"format": FORMAT, **spec})
    old, obs = load_policy(tmp_path / "old.safetensors"), random_images(pi.ob_space, 2)
    np.testing.assert_array_equal(old.vpred(obs), pi.vpred(obs))
    assert old.settings() == pi.settings() == load_policy_again(pi, tmp_path).settings()


def load_policy_again(pi, folder):
    pi.save(folder / "new.safetensors")
    return load_policy(folder / "new.safetensors")


class Wide(Catch):
    """Its images could have their channels on both axes."""

    observation_space = images(36, 36, 40)

    def draw(self, block, row, paddle):
        return self.np_random.integers(0, 256, (36, 36, 40), dtype=np.uint8)


@pytest.fixture
def wide():
    gym.register("Wide-v0", entry_point=Wide)
    yield (
        "--env",
        "Wide-v0",
        "--kind",
        "small",
        "--timesteps-per-actorbatch",
        "16",
        "--optim-batchsize",
        "8",
        "--optim-epochs",
        "1",
        "--num-envs",
        "1",
        "--report",
        "false",
        "--quiet",
    )
    del gym.registry["Wide-v0"]


def test_the_command_line_names_the_flag_and_resumes_runs_without_it(wide, tmp_path, cli_here):
    refused = cli_here(*wide, "--max-iters", "1", "--run-dir", tmp_path / "refused")
    assert refused.returncode == 2
    assert "set --channels first or --channels last, or use --policy mlp" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    done = cli_here(*wide, "--channels", "last", "--max-iters", "1", "--run-dir", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    assert config["settings"]["policy_settings"].pop("channels") == "last" and config["typed"].pop("channels") == "last"
    # 36 rows, 40 channels: older versions took the rows for the channels
    (tmp_path / "run/config.json").write_text(json.dumps(config), encoding="utf-8")
    old = cli_here("--resume", "--run-dir", tmp_path / "run", "--max-iters", "2")
    # as in older versions, which would have built another network
    assert old.returncode == 2 and "contains another model" in old.stderr
    assert "not a setting of the mlp policy" in cli_here("--env", "CartPole-v1", "--channels", "last").stderr
