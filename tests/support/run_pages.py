"""Run directories as training leaves them, written by hand, and their reports."""

import json
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from baselines_ppo.config.resolve import resolve
from baselines_ppo.report import command as report

VOID = {"meta", "link", "source", "img", "br"}
PROGRESS = (
    "EpLenMean,EpRewMean,EpThisIter,EpisodesSoFar,TimestepsSoFar,TimeElapsed,ev_tdlam_before,loss_pol_surr,loss_pol_entpen,loss_vf_loss,"
    "loss_kl,loss_ent,clipfrac,stepsize\n"
)
EVALUATIONS = "TimestepsSoFar,Iteration,Episodes,EvalRewMean,EvalRewStd,EvalRewMin,EvalRewMax,EvalLenMean\n"


def config_of(folder, **typed):
    """Return the contents of `config.json` of a run on two ranks."""
    typed = {"env": "Pendulum-v1", "num_timesteps": 30_000, "run_dir": str(folder)} | typed
    settings = resolve(typed, 2, "classic", typed["env"], "mlp").to_dict()
    return {
        "format": "baselines_ppo.config",
        "typed": typed,
        "settings": settings,
        "ranks": 2,
        "seed": settings["seed"],
        "versions": {"python": "3.11.7", "mujoco": None},
        "git_commit": "abc123+",
        "argv": ["run.py", "--env", typed["env"]],
        "started": "2024-05-06T07:08:09+0000",
        "platform": "Linux",
    }


def write_run(folder, iterations=12, episodes=240, evaluations=12, film=True, **typed):
    """Write a run of two ranks.

    Returns rise by 5 per episode of 200 steps. The best evaluation is the first one, 77.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_of(folder, **typed)))
    for rank in range(2):
        rows = "".join(f"{-1500 + 5 * i},200,{0.1 * i}\n" for i in range(rank, episodes, 2))
        (folder / f"{rank}.0.monitor.csv").write_text(
            '#{"t_start": 1700000000.0, "env_id": "Pendulum-v1"}\nr,l,t\n' + rows
        )
    (folder / "progress.csv").write_text(
        PROGRESS
        + "".join(
            f"200,{-1500 + 80 * i},20,{20 * i},{4000 * i},{2.0 * i},{1 - 5 / i},-0.01,-0.0,0.1,0.005,{1.4 - i / 100},0.1,{0.001 / i}\n"
            for i in range(1, iterations + 1)
        )
    )
    (folder / "evaluations.csv").write_text(
        EVALUATIONS + "".join(f"{4000 * i},{i},10,{78 - i},3.5,60,99,200\n" for i in range(1, evaluations + 1))
    )
    if film:
        frames = [Image.fromarray(np.full((8, 12, 3), shade, np.uint8)) for shade in (0, 128, 255)]
        frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    return folder


class Page(HTMLParser):
    """A parsed page. AssertionError unless every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def page_of(folder):
    """Write and parse the report of a run."""
    assert report.main([str(folder)]) == 0
    return Page((folder / "report.html").read_text())
