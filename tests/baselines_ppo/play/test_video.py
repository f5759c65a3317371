"""The film of a run: on its page and in TensorBoard; where there is none, the page is drawn all the same."""

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


class Picture(gym.Env):
    """Twenty steps, each of another shade; or nothing to be seen."""

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


gym.register(
    "Picture-v0", Picture
)  # also in the process that films, which imports this module by the name before the colon


def trained(folder, monkeypatch, capfd, **env_kwargs):
    """A run on `Picture` with a policy."""
    from baselines_ppo import MlpPolicy

    monkeypatch.setenv("MUJOCO_GL", "egl")  # nothing is to be tried out for it
    write_run(folder, film=False, env="test_video:Picture-v0", **({"env_kwargs": env_kwargs} if env_kwargs else {}))
    (folder / "policy").mkdir()
    pi = MlpPolicy("pi", Picture.observation_space, Picture.action_space)
    pi.save(folder / "policy" / "policy.safetensors", env="test_video:Picture-v0", env_kwargs=env_kwargs)
    capfd.readouterr()  # what TensorFlow said when it was imported here
    return folder


def test_film_is_on_the_page_and_in_tensorboard(tmp_path, monkeypatch, capfd):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    folder = trained(tmp_path / "run", monkeypatch, capfd)
    assert report.main([str(folder), "--film"]) == 0
    assert capfd.readouterr() == ("", "")
    assert Image.open(folder / "film.gif").n_frames == 20
    assert "Film" in Page((folder / "report.html").read_text()).text
    events = [
        event
        for path in (folder / "tb").iterdir()
        for event in EventFileLoader(str(path)).Load()
        if event.summary.value
    ]
    (value,), step = events[0].summary.value, events[0].step
    assert (value.tag, value.metadata.plugin_data.plugin_name, step) == ("film", "images", 48_000)
    assert list(value.tensor.string_val) == [b"40", b"30", (folder / "film.gif").read_bytes()]


def test_what_cannot_be_filmed_is_said_in_one_line_and_the_page_is_drawn(tmp_path, monkeypatch, capfd):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken="raise")
    assert report.main([str(folder), "--film"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "no picture of this environment (no OpenGL anywhere)" in err
    assert (folder / "report.html").exists() and not (folder / "film.gif").exists()


def test_a_renderer_that_crashes_does_not_take_the_page_with_it(tmp_path, monkeypatch, capfd):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken="crash")
    assert report.main([str(folder), "--film"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "no picture: what draws test_video:Picture-v0 crashed" in err
    assert (folder / "report.html").exists()


def test_a_run_without_a_policy_yet_is_drawn_without_a_film(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    folder = write_run(tmp_path / "run", film=False)
    assert report.main([str(folder), "--film"]) == 0
    assert "no film: " in capfd.readouterr().err
    assert (folder / "report.html").exists()


# ---- --play


def test_a_display_that_does_not_answer_is_said_and_a_film_made(tmp_path, monkeypatch, capfd, cli_here):
    folder = trained(tmp_path / "run", monkeypatch, capfd)
    monkeypatch.setenv("DISPLAY", ":99")
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "1")
    assert done.returncode == 0
    assert "1 stochastic episode, return 20 " in done.stdout
    assert done.stderr.splitlines() == [
        "DISPLAY=:99 does not answer: a film instead of a window",
        f"film of the first episode, 20 frames: {folder / 'play.gif'}",
    ]


@pytest.mark.parametrize(
    "broken, warning", [("", None), ("window", "no window (no glass anywhere); a film instead of it")]
)
def test_a_window_that_cannot_be_opened_is_said_in_one_line_and_a_film_made(
    broken, warning, tmp_path, monkeypatch, capfd, cli_here
):
    folder = trained(tmp_path / "run", monkeypatch, capfd, broken=broken)
    monkeypatch.setattr("baselines_ppo.play.command.has_display", lambda: True)
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "2")
    assert done.returncode == 0
    assert done.stderr.splitlines()[:1] == ([warning] if warning else [])
    assert (folder / "play.gif").exists() == bool(warning)


def test_more_episodes_than_one_watches_are_counted_alone(tmp_path, monkeypatch, capfd, cli_here):
    folder = trained(tmp_path / "run", monkeypatch, capfd)
    done = cli_here("--play", "--load-path", folder, "--eval-episodes", "11")
    assert (done.returncode, done.stderr) == (0, "") and "11 stochastic episodes" in done.stdout
    assert not (folder / "play.gif").exists()


def test_behind_a_display_that_does_not_answer_mujoco_draws_without_one(monkeypatch):
    if not any(exits_cleanly(PROBE, MUJOCO_GL=name) for name in ("egl", "osmesa")):
        pytest.skip("needs EGL or OSMesa")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("MUJOCO_GL", "")
    select_gl_backend()
    assert os.environ["MUJOCO_GL"] in ("egl", "osmesa")


def test_the_hint_is_to_install_or_to_unset_what_was_chosen_by_hand(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert hint("mujoco", RuntimeError("a\nb")) == (
        "no picture of this environment (a b); MUJOCO_GL is glfw: unset it, and one that works here is looked for"
    )
    monkeypatch.delenv("MUJOCO_GL")
    assert "apt install libegl1" in hint("mujoco", RuntimeError("a"))


def test_an_opengl_that_is_not_there_is_no_matter_where_nobody_asks_for_a_picture():
    code = "import os, sys; from common.envs.factory import make_env; make_env('Hopper-v4', env_kwargs={}).reset(); sys.exit(os.environ['MUJOCO_GL'] != 'nonsense')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=os.environ | {"MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace("{}", "{'render_mode': 'rgb_array'}")],
        cwd=ROOT,
        env=os.environ | {"MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert (
        "UserError: cannot make Hopper-v4" in asked.stderr
        and "invalid value for environment variable MUJOCO_GL" in asked.stderr
    )
