"""Every setting of `learn`, with its meaning, checked before the first step. The command line, `config.json` and the presets are made from it.

Imports no TensorFlow: `--help` answers at once.
"""
from dataclasses import dataclass, field, fields

from common.errors import UserError
from common.limits import Limits


def setting(default, doc, choices=None):
    """A dataclass field with its documentation, and what it may be."""
    return field(default=default, metadata={"doc": doc, "choices": choices})


@dataclass(frozen=True)
class PPOSettings:
    """Settings of PPO. Counts of steps are per rank, over all of that rank's environments. Defaults are the 2017 settings."""

    timesteps_per_actorbatch: int = setting(2048, "steps of one segment, per rank, over its environments")
    clip_param: float = setting(0.2, "epsilon of the clipped surrogate")
    entcoeff: float = setting(0.0, "coefficient of the entropy bonus")
    optim_epochs: int = setting(10, "passes over a segment")
    optim_stepsize: float = setting(3e-4, "Adam's step size")
    optim_batchsize: int | None = setting(64, "rows of a minibatch, per rank; none: the whole segment")
    gamma: float = setting(0.99, "discount")
    lam: float = setting(0.95, "GAE's lambda; 0 is TD(0), 1 Monte Carlo")
    adam_epsilon: float = setting(1e-5, "Adam's epsilon")
    schedule: str = setting("constant", "step size over the run: constant, or linear to 0", ("constant", "linear"))
    clip_schedule: str = setting("constant", "clip_param over the run: constant, or linear to 0", ("constant", "linear"))
    vf_coef: float = setting(1.0, "coefficient of the value loss")
    vf_clip: float | None = setting(None, "hold a new value within this of the old one; none: off")
    max_grad_norm: float | None = setting(None, "scale longer gradients down to this length; none: off")
    target_kl: float | None = setting(None, "no further epoch once the mean KL of one exceeds 1.5 times this; none: off")
    standardise_adv: bool = setting(True, "advantages to mean 0 and deviation 1, per rank")
    recompute_adv: bool = setting(False, "advantages and targets from the newest value function before every epoch")
    scale_returns: bool = setting(False, "divide rewards by the running deviation of the discounted return")

    def check(self):
        """Raises UserError for the first value that cannot be."""
        for name in ("timesteps_per_actorbatch", "optim_epochs"):
            self._require(name, getattr(self, name) >= 1, "give at least 1")
        self._require("optim_batchsize", self.optim_batchsize is None or self.optim_batchsize >= 1, "give at least 1, or none for the whole segment")
        if self.optim_batchsize is not None and self.optim_batchsize > self.timesteps_per_actorbatch:
            raise UserError(f"optim_batchsize={self.optim_batchsize} is more than timesteps_per_actorbatch={self.timesteps_per_actorbatch}; "
                            "make the minibatch smaller or the segment longer")
        for name in ("gamma", "lam"):
            self._require(name, 0 <= getattr(self, name) <= 1, "give a number from 0 to 1")
        for name in ("clip_param", "optim_stepsize", "adam_epsilon"):
            self._require(name, 0 < getattr(self, name) < float("inf"), "give a number above 0")
        for name in ("entcoeff", "vf_coef"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "give a number from 0 up")
        for name in ("vf_clip", "max_grad_norm", "target_kl"):
            value = getattr(self, name)
            self._require(name, value is None or 0 < value < float("inf"), "give a number above 0, or none to turn it off")
        for one in fields(self):
            if one.metadata["choices"]:
                self._require(one.name, getattr(self, one.name) in one.metadata["choices"], f"choose one of {', '.join(one.metadata['choices'])}")

    def _require(self, name, holds, fix):
        if not holds:
            raise UserError(f"{name}={getattr(self, name)!r} cannot be; {fix}")

    def check_with(self, limits: Limits):
        """Raises UserError where settings and limits contradict each other."""
        limits.check()
        if "linear" in (self.schedule, self.clip_schedule) and not (limits.max_timesteps or limits.max_iters):
            raise UserError("a linear schedule needs to know how far the run goes: limit it by max_timesteps or max_iters, or use schedule='constant'")
