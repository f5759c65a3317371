"""Videos: in the report, in TensorBoard and with `--play`; without a video everything else is still written."""

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from jobs import ROOT
from PIL import Image
from run_pages import Page, write_run

from baselines_ppo.report import command as report
from common.envs.rendering import PROBE, exits_cleanly, hint, select_gl_backend


class RenderedEnv(gym.Env):
    """Twenty steps, each rendered in another shade; or an environment whose renderer fails."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 25}
    observation_space, action_space = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(2)

    def __init__(self, render_mode=None, broken=""):
        self.render_mode, self.broken = render_mode, broken

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.broken == "window" and self.render_mode == "human":
            raise RuntimeError("no glass\nanywhere")
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(3, np.float32), 1.0, self.t == 20, False, {}

    def render(self):
        if self.broken == "crash":
            os.abort()
        if self.broken == "raise":
            raise RuntimeError("no OpenGL\nanywhere")
        return np.full((30, 40, 3), 12 * self.t, np.uint8)


# also in the rendering process, which imports this module by the name before the colon
gym.register("Rendered-v0", RenderedEnv)


def trained(folder, monkeypatch, capfd, **env_kwargs):
    """A run on `RenderedEnv` with a policy."""
    from baselines_ppo import MlpPolicy

    monkeypatch.setenv("MUJOCO_GL", "egl")  # no backend is probed
    write_run(folder, film=False, env="test_video:Rendered-v0", **({"env_kwargs": env_kwargs} if env_kwargs else {}))
    (folder / "policy").mkdir()
    pi = MlpPolicy("pi", RenderedEnv.observation_space, RenderedEnv.action_space)
    pi.save(folder / "policy" / "policy.safetensors", env="test_video:Rendered-v0", env_kwargs=env_kwargs)
    capfd.readouterr()  # output of TensorFlow's import
    return folder


def test_the_video_is_in_the_report_and_in_tensorboard(tmp_path, monkeypatch, capfd):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    folder = trained(tmp_path / "run", monkeypatch, capfd)
    assert report.main([str(folder), "--film"]) == 0
    assert capfd.readouterr() == ("", "")
    assert Image.open(folder / "film.gif").n_frames == 20
    assert "Video" in Page((folder / "report.html").read_text()).text
    events = [
        event
        for path in (folder / "tb").iterdir()
        for event in EventFileLoader(str(path)).Load()
        if event.summary.value
    ]
    (value,), step = events[0].summary.value, events[0].step
    assert (value.tag, value.metadata.plugin_data.plugin_name, step) == ("film", "images", 48_000)
    assert list(value.tensor.string_val) == [b"40", b"30", (folder / "film.gif").read_bytes()]


def test_an_environment_that_cannot_be_rendered_gives_one_line_and_a_report(tmp_path, monkeypatch, capfd):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken="raise")
    assert report.main([str(folder), "--film"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "this environment cannot be rendered (no OpenGL anywhere)" in err
    assert (folder / "report.html").exists() and not (folder / "film.gif").exists()


def test_a_crashing_renderer_gives_one_line_and_a_report(tmp_path, monkeypatch, capfd):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken="crash")
    assert report.main([str(folder), "--film"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "no video: the renderer of test_video:Rendered-v0 crashed" in err
    assert (folder / "report.html").exists()


def test_a_run_without_a_policy_gets_a_report_without_a_video(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    folder = write_run(tmp_path / "run", film=False)
    assert report.main([str(folder), "--film"]) == 0
    assert "no video: " in capfd.readouterr().err
    assert (folder / "report.html").exists()


# ---- --play


def test_a_display_that_does_not_answer_is_reported_and_a_video_recorded(tmp_path, monkeypatch, capfd, cli_here):
    folder = trained(tmp_path / "run", monkeypatch, capfd)
    monkeypatch.setenv("DISPLAY", ":99")
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "1")
    assert done.returncode == 0
    assert "1 stochastic episode, return 20 " in done.stdout
    assert done.stderr.splitlines() == [
        "DISPLAY=:99 does not answer: recording a video instead of opening a window",
        f"video of the first episode, 20 frames: {folder / 'play.gif'}",
    ]


@pytest.mark.parametrize(
    "broken, warning", [("", None), ("window", "no window (no glass anywhere); recording a video instead")]
)
def test_a_window_that_cannot_be_opened_is_reported_and_a_video_recorded(
    broken, warning, tmp_path, monkeypatch, capfd, cli_here
):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken=broken)
    monkeypatch.setattr("baselines_ppo.play.command.has_display", lambda: True)
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "2")
    assert done.returncode == 0
    assert done.stderr.splitlines()[:1] == ([warning] if warning else [])
    assert (folder / "play.gif").exists() == bool(warning)


def test_settings_of_a_training_are_named_as_without_effect(tmp_path, monkeypatch, capfd, cli_here):
    folder = trained(tmp_path / "run", monkeypatch, capfd)
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "11", "--memory", "lstm", "--hidden", "4")
    expected = "without effect in --play, which uses the policy's own settings: --memory, --hidden"
    assert (done.returncode, done.stderr) == (0, f"{expected}\n")


def test_many_episodes_are_only_evaluated(tmp_path, monkeypatch, capfd, cli_here):
    folder = trained(tmp_path / "run", monkeypatch, capfd)
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "11")
    assert (done.returncode, done.stderr) == (0, "") and "11 stochastic episodes" in done.stdout
    assert not (folder / "play.gif").exists()


def test_mujoco_renders_headless_if_the_display_does_not_answer(monkeypatch):
    if not any(exits_cleanly(PROBE, MUJOCO_GL=name) for name in ("egl", "osmesa")):
        pytest.skip("needs EGL or OSMesa")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("MUJOCO_GL", "")
    select_gl_backend()
    assert os.environ["MUJOCO_GL"] in ("egl", "osmesa")


def test_the_hint_is_to_install_packages_or_to_unset_mujoco_gl(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert hint("mujoco", RuntimeError("a\nb")) == (
        "this environment cannot be rendered (a b); MUJOCO_GL is glfw: unset it to select a working backend"
    )
    monkeypatch.delenv("MUJOCO_GL")
    assert "apt install libegl1" in hint("mujoco", RuntimeError("a"))


def test_missing_opengl_matters_only_for_rendering():
    code = (
        "import os, sys; from common.envs.factory import make_env; make_env('Hopper-v4', env_kwargs={}).reset(); "
        "sys.exit(os.environ['MUJOCO_GL'] != 'nonsense')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=os.environ | {"MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rendering = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace("{}", "{'render_mode': 'rgb_array'}")],
        cwd=ROOT,
        env=os.environ | {"MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert (
        "UserError: cannot make Hopper-v4" in rendering.stderr
        and "invalid value for environment variable MUJOCO_GL" in rendering.stderr
    )
