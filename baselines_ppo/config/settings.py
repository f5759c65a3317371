"""Every setting of every `learn`, with its meaning, checked before the first step. The command line, `config.json` and the presets are made
from it.

Imports no TensorFlow: `--help` answers at once.
"""

from dataclasses import dataclass, field, fields
from typing import get_args

from common.errors import UserError
from common.formatting import safe_repr
from common.hints import LIMIT_LINEAR
from common.training.stopping import StopCriteria
from common.validation import INT64_MAX, check_bool, check_choice, check_divisible, check_int_argument, check_number

# what a number may be -> (test, what to give instead)
ALLOWED = {
    "count": (lambda x: x >= 1, "give at least 1"),
    "positive": (lambda x: 0 < x < float("inf"), "give a number above 0"),
    "from 0": (lambda x: 0 <= x < float("inf"), "give a number from 0 up"),
    "fraction": (lambda x: 0 <= x <= 1, "give a number from 0 to 1"),
}


# a field's type -> the value as Python's own; raises UserError unless it is of that type
OF_TYPE = {int: lambda name, x: check_int_argument(name, x, -INT64_MAX), float: check_number, bool: check_bool}
SCHEDULES = {
    "optim_stepsize": "schedule",
    "clip_param": "clip_schedule",
}  # a setting that may change over the run -> the one that says how


def setting(default, doc, allowed=None, choices=None):
    """A dataclass field with its documentation, and what it may be: a key of `ALLOWED`, or one of `choices`."""
    return field(default=default, metadata={"doc": doc, "allowed": allowed, "choices": choices})


VF_STEPSIZE = (
    "Adam's step size for V; ppo: for the variables of V alone, none: optim-stepsize; trpo, vpg: for its fit apart"
)


@dataclass(frozen=True)
class Settings:
    """What the algorithms have in common. Counts of steps are per rank, over all of that rank's environments.

    Raises:
        UserError: for a number or a bool that is of another type, and cannot be cast without loss.
    """

    gamma: float = setting(0.99, "discount", "fraction")
    lam: float = setting(0.95, "GAE's lambda; 1 makes the value's targets Monte Carlo returns, 0 TD(0)", "fraction")
    entcoeff: float = setting(0.0, "coefficient of the entropy bonus", "from 0")
    scale_returns: bool = setting(False, "divide rewards by the running deviation of the discounted return")
    bootstrap_time_limits: bool = setting(
        True, "an episode that a time limit ends is worth V of its last observation; false: nothing, as after a death"
    )

    def __post_init__(self):
        """Numbers of other types become Python's own, as the run's config.json holds them."""
        names = {one.name for one in fields(self)}
        for one in fields(self):
            value, types = getattr(self, one.name), get_args(one.type) or (one.type,)
            (kind,) = set(types) - {type(None)}
            if kind not in OF_TYPE or value is None and type(None) in types:
                continue
            if callable(value) and SCHEDULES.get(one.name) in names:
                raise UserError(
                    f"{one.name}={safe_repr(value)} cannot be: it is a function; give a number, and {SCHEDULES[one.name]}='linear' to let it fall "
                    "to 0 over the run"
                )
            object.__setattr__(self, one.name, OF_TYPE[kind](one.name, value))

    def check(self):
        """Raises UserError for the first value that cannot be."""
        for one in fields(self):
            value, allowed, choices = getattr(self, one.name), one.metadata["allowed"], one.metadata["choices"]
            if choices:
                check_choice(one.name, value, choices)
            optional = type(None) in get_args(one.type)
            if allowed and not (optional if value is None else ALLOWED[allowed][0](value)):
                raise UserError(
                    f"{one.name}={value!r} cannot be; {ALLOWED[allowed][1]}{', or none' if optional else ''}"
                )
        segment, minibatch = (getattr(self, name) for name in self.counts())
        if getattr(self, "vf_iters", 1) and minibatch is not None and minibatch > segment:
            names = self.counts()
            raise UserError(
                f"{names[1]}={minibatch} is more than {names[0]}={segment}; make the minibatch smaller or the segment longer"
            )

    def check_with(self, limits: StopCriteria):
        """Raises UserError where settings and limits contradict each other."""
        limits.check()
        if "linear" in (getattr(self, name, None) for name in ("schedule", "clip_schedule")) and not (
            limits.max_timesteps or limits.max_iters
        ):
            raise UserError(f"a linear schedule needs to know how far the run goes: {LIMIT_LINEAR}")

    def check_for(self, num_envs):
        """Raises UserError if a segment cannot be shared out over a rank's environments."""
        name = self.counts()[0]
        check_divisible(name, getattr(self, name), num_envs)

    @classmethod
    def counts(cls):
        """Names of the fields that count a segment's steps and a minibatch's rows; a total of them is shared out over the ranks."""
        return "timesteps_per_actorbatch", "optim_batchsize"


# names of the objectives; `objectives.OBJECTIVES` has a function for each, which needs TensorFlow
SURROGATES = (
    "clip",
    "adaptive_kl",
    "fixed_kl",
    "unclipped",
)


@dataclass(frozen=True)
class PPOSettings(Settings):
    """Settings of PPO. Defaults are the 2017 settings."""

    objective: str = setting("clip", "surrogate objective", choices=SURROGATES)
    timesteps_per_actorbatch: int = setting(2048, "steps of one segment, per rank, over its environments", "count")
    clip_param: float = setting(0.2, "epsilon of the clipped surrogate", "positive")
    beta: float = setting(1.0, "coefficient of the KL penalty; where adaptive_kl starts", "positive")
    kl_target: float = setting(
        0.01, "adaptive_kl: halve beta below 1/1.5 of this KL, double it above 1.5 times", "positive"
    )
    kl_min: float | None = setting(None, "adaptive_kl: halve beta below this KL instead", "positive")
    kl_max: float | None = setting(None, "adaptive_kl: double beta above this KL instead", "positive")
    optim_epochs: int = setting(10, "passes over a segment", "count")
    optim_stepsize: float = setting(3e-4, "Adam's step size", "positive")
    optim_batchsize: int | None = setting(64, "rows of a minibatch, per rank; none: the whole segment", "count")
    vf_stepsize: float | None = setting(None, VF_STEPSIZE, "positive")
    adam_epsilon: float = setting(1e-5, "Adam's epsilon", "positive")
    schedule: str = setting(
        "constant", "step size over the run: constant, or linear to 0", choices=("constant", "linear")
    )
    clip_schedule: str = setting(
        "constant", "clip_param over the run: constant, or linear to 0", choices=("constant", "linear")
    )
    vf_coef: float = setting(1.0, "coefficient of the value loss", "from 0")
    vf_clip: float | None = setting(None, "hold a new value within this of the old one; none: off", "positive")
    max_grad_norm: float | None = setting(None, "scale longer gradients down to this length; none: off", "positive")
    target_kl: float | None = setting(
        None, "no further epoch once the mean KL of one exceeds 1.5 times this; none: off", "positive"
    )
    standardise_adv: bool = setting(True, "advantages to mean 0 and deviation 1, per rank")
    recompute_adv: bool = setting(False, "advantages and targets from the newest value function before every epoch")

    def check(self):
        """As the base's, and the two bounds of KL together."""
        super().check()
        if (self.kl_min is None) != (self.kl_max is None) or (self.kl_min is not None and self.kl_min > self.kl_max):
            raise UserError(
                f"kl_min={self.kl_min}, kl_max={self.kl_max} cannot be; give both, the smaller first, or neither and kl_target"
            )


@dataclass(frozen=True)
class TRPOSettings(Settings):
    """Settings of TRPO. Defaults are Baselines' and those of its run_mujoco."""

    timesteps_per_batch: int = setting(1024, "trpo: steps of one segment, per rank, over its environments", "count")
    max_kl: float = setting(0.01, "trpo: the KL that a step may make, delta", "positive")
    cg_iters: int = setting(10, "trpo: conjugate gradient steps", "count")
    cg_damping: float = setting(1e-2, "trpo: times the identity, added to the Fisher matrix", "from 0")
    cg_stride: int = setting(5, "trpo: Fisher-vector products take every n-th row", "count")
    vf_stepsize: float = setting(3e-4, VF_STEPSIZE, "positive")
    vf_iters: int = setting(
        3,
        "trpo, vpg: passes over a segment of the value function fitted apart; vpg: 0 fits it in the policy's own step",
        "from 0",
    )
    vf_batchsize: int = setting(
        64, "trpo, vpg: rows of a minibatch of the value function fitted apart, per rank", "count"
    )
    lam: float = setting(0.98, "GAE's lambda; 1 makes the value's targets Monte Carlo returns, 0 TD(0)", "fraction")

    @classmethod
    def counts(cls):
        return "timesteps_per_batch", "vf_batchsize"


@dataclass(frozen=True)
class VPGSettings(Settings):
    """Settings of policy gradients that use their data once. Defaults are REINFORCE with a learned baseline."""

    timesteps_per_actorbatch: int = setting(2048, "steps of one segment, per rank, over its environments", "count")
    whole_episodes: bool = setting(
        True, "vpg: a segment goes on until its last episodes have ended; none is cut to fill it"
    )
    baseline: str = setting("value", "vpg: what is subtracted from returns", choices=("none", "mean", "value"))
    reward_to_go: bool = setting(True, "vpg: returns count from each step on; false: each step has its whole episode's")
    lam: float = setting(1.0, "GAE's lambda; 1 makes the value's targets Monte Carlo returns, 0 TD(0)", "fraction")
    optim_stepsize: float = setting(1e-2, "Adam's step size", "positive")
    adam_epsilon: float = setting(1e-5, "Adam's epsilon", "positive")
    schedule: str = setting(
        "constant", "step size over the run: constant, or linear to 0", choices=("constant", "linear")
    )
    vf_coef: float = setting(0.5, "coefficient of the value loss", "from 0")
    vf_stepsize: float = setting(1e-3, VF_STEPSIZE, "positive")
    vf_iters: int = setting(
        5,
        "trpo, vpg: passes over a segment of the value function fitted apart; vpg: 0 fits it in the policy's own step",
        "from 0",
    )
    vf_batchsize: int = setting(
        64, "trpo, vpg: rows of a minibatch of the value function fitted apart, per rank", "count"
    )
    max_grad_norm: float | None = setting(None, "scale longer gradients down to this length; none: off", "positive")
    standardise_adv: bool = setting(True, "advantages to mean 0 and deviation 1, per rank")

    @classmethod
    def counts(cls):
        return "timesteps_per_actorbatch", "vf_batchsize"

    def check(self):
        """As the base's, and what a baseline can go with."""
        super().check()
        if self.baseline == "none" and self.standardise_adv:
            raise UserError(
                "baseline='none' with standardise_adv=True cannot be: standardising subtracts the mean, which is a baseline; "
                "set standardise_adv=False, or baseline='mean'"
            )
        if self.baseline != "value" and self.lam != 1:
            raise UserError(
                f"baseline={self.baseline!r} with lam={self.lam} cannot be: there is no value function to bootstrap from; set lam=1"
            )
        if self.baseline != "value" and not self.whole_episodes:
            raise UserError(
                f"baseline={self.baseline!r} with whole_episodes=False cannot be: the returns of episodes that are cut are not known "
                "without a value function; set whole_episodes=True"
            )
        if self.baseline == "value" and not self.reward_to_go:
            raise UserError(
                "baseline='value' with reward_to_go=False cannot be: a value is of what is still to come; "
                "set baseline='mean' or 'none'"
            )


# CnnPolicy's settings where a run or a file is older than they are
OLDER_CNN = {"channels": "smaller"}
# name of a policy on the command line and in config.json -> its class, which `baselines_ppo.policy_registry` adds
POLICY_CLASS_NAMES = {"mlp": "MlpPolicy", "cnn": "CnnPolicy"}
ALGORITHMS = {"ppo": PPOSettings, "trpo": TRPOSettings, "vpg": VPGSettings}
