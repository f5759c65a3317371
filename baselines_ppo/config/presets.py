"""Presets: named sets of settings, chosen by algorithm and kind of environment. Imports no TensorFlow.

Counts are totals over all ranks unless a preset has `per_rank`.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A named set of settings.

    Attributes:
        doc: purpose and source.
        num_timesteps: default length of a run, in environment steps over all ranks.
        num_envs: number of environments, in total, or per rank if `per_rank`.
        learn: fields of the algorithm's settings that differ from their defaults.
        policy: keyword arguments of the policy, by the policy's name.
        per_rank: counts are per rank, as in Baselines.
        alg: algorithm that the preset is for.
        stagger: end first episodes early (`RunSettings.stagger`), if the algorithm's settings allow it.
        checkpoint_every: iterations between checkpoints. A checkpoint truncates all episodes, so the interval is many
            episodes long for any rollout length.
    """

    doc: str
    num_timesteps: int
    num_envs: int = 1
    learn: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, dict[str, Any]] = field(default_factory=dict)
    per_rank: bool = False
    alg: str = "ppo"
    stagger: bool = False
    checkpoint_every: int = 25

    @property
    def batch(self) -> str:
        """The value of the setting `batch`."""
        return "per-rank" if self.per_rank else "total"

    def values(self) -> dict[str, Any]:
        """Return {setting: value} of everything that the preset gives."""
        names = ("alg", "num_timesteps", "num_envs", "stagger", "batch", "checkpoint_every")
        of_policies = self.policy.get("cnn", {}) | self.policy.get("mlp", {})
        return {name: getattr(self, name) for name in names} | self.learn | of_policies


# Changes from the settings of 2017 for MuJoCo. The effect on the return of the final policy, in thousands, is from a
# regression over 64 runs on HalfCheetah, Walker2d, Ant and Hopper (benchmarks/results/returns.md; standard error 0.24).
# No single effect is significant. "left out": loss of return if the preset lacks only this change, from eight pairs of
# runs (standard error 0.28 to 0.39). benchmarks/results/returns.md has the effect of all changes together.
MUJOCO = {
    "schedule": "linear",  # small steps at the end; also in Baselines' run_mujoco; left out 0.33
    "lam": 0.9,  # less variance for a little more bias, because scaled returns make V accurate early; +0.38 over 0.95
    "optim_batchsize": 128,  # +0.31 over 64
    "scale_returns": True,  # one learning rate for rewards of any scale (Engstrom et al. 2020); left out 0.72
    "vf_coef": 0.5,
}
# Orthogonal weights (left out 0.05), a small last layer and an initial log std below 0 (Andrychowicz et al. 2020, 3.2).
ORTHOGONAL = {"init": "orthogonal"}
# init_logstd -1: +0.20 over -0.5. Returns with -1, and with -0.5 in brackets (seeds 402 and 403): HalfCheetah 6,233
# (5,140), Walker2d 4,727 (3,319). Ant 4,957 (4,584), Hopper 3,267 (2,605).
# ob_min_std 1e-4 (left out 0.11): observations of MuJoCo have different units, and some of them vary little.
CONTINUOUS = ORTHOGONAL | {"init_logstd": -1.0, "ob_min_std": 1e-4}

PRESETS: dict[str, Preset] = {
    "ppo1": Preset(
        "Baselines' run_mujoco: the settings of 2017, linear learning rate, counts per rank",
        1_000_000,
        1,
        {"schedule": "linear"},
        {},
        per_rank=True,
    ),
    "paper": Preset(
        "the MuJoCo experiments of Schulman et al. 2017: like ppo1, but with a constant learning rate",
        1_000_000,
        1,
        per_rank=True,
    ),
    # Return with eight environments and with one (seed 100): HalfCheetah 6,927 and 3,740, Walker2d 4,739 and 4,271.
    # stagger: +0.33, because each rollout then holds all parts of an episode. checkpoint_every: each of eight
    # environments makes 256 steps per iteration, so 100 iterations are 25 episodes of 1,000 steps.
    "mujoco": Preset(
        "continuous control with MuJoCo, and environments of any other kind",
        1_000_000,
        8,
        MUJOCO,
        {"mlp": CONTINUOUS, "cnn": ORTHOGONAL},
        stagger=True,
        checkpoint_every=100,
    ),
    "humanoid": Preset(
        "Humanoid and tasks with many joints: like mujoco, with longer rollouts and more steps",
        10_000_000,
        8,
        MUJOCO | {"timesteps_per_actorbatch": 4096},
        {"mlp": CONTINUOUS, "cnn": ORTHOGONAL},
        stagger=True,
        checkpoint_every=100,
    ),
    # No observation normalization: observations of classic control are small and bounded, and statistics that follow
    # the policy to the goal move the initial states far from 0. Deterministic return on Pendulum (seeds 1, 101, 102):
    # -222, -172, -163 without normalization; -256, -214, -231 with it.
    "classic": Preset(
        "classic control, toy text and Box2D",
        100_000,
        4,
        {
            "timesteps_per_actorbatch": 1024,
            "optim_stepsize": 1e-3,
            "schedule": "linear",
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "scale_returns": True,
        },
        {"mlp": ORTHOGONAL | {"normalise_ob": False}, "cnn": ORTHOGONAL},
    ),
    "atari": Preset(
        "Atari: table 5 of the paper, but with 4 epochs (paper: 3), value coefficient 0.5 (1) and gradient clipping "
        "at 0.5 (none); 8 environments of 128 steps in total, learning rate and clip range linear",
        10_000_000,
        8,
        {
            "timesteps_per_actorbatch": 1024,
            "optim_batchsize": 256,
            "optim_epochs": 4,
            "optim_stepsize": 2.5e-4,
            "clip_param": 0.1,
            "entcoeff": 0.01,
            "vf_coef": 0.5,
            "schedule": "linear",
            "clip_schedule": "linear",
            "max_grad_norm": 0.5,
        },
        {"mlp": ORTHOGONAL, "cnn": ORTHOGONAL},
    ),
    # Baselines' run_mujoco has 1024 steps and lambda 0.98. Return on Hopper after a million steps (last 100 episodes,
    # seed 100): 1,616 with these, 2,067 with lambda 0.95, 2,713 also with 2048 steps. Mean of seeds 100 to 102 with
    # both: 2,111; also with orthogonal weights and less initial noise: 2,293.
    "trpo": Preset(
        "Baselines' run_mujoco for TRPO, with longer rollouts, a smaller lambda and other initial weights",
        1_000_000,
        1,
        {"timesteps_per_batch": 2048, "lam": 0.95, "cg_damping": 0.1, "vf_stepsize": 1e-3, "vf_iters": 5},
        {"mlp": ORTHOGONAL | {"init_logstd": -0.5}, "cnn": ORTHOGONAL},
        alg="trpo",
    ),
    "reinforce": Preset(
        "REINFORCE: whole episodes, reward to go, a learned baseline that is fitted separately",
        300_000,
        1,
        {"schedule": "linear"},
        alg="vpg",
    ),
    "a2c": Preset(
        "advantage actor-critic: short rollouts of many environments, one gradient step for each rollout",
        300_000,
        8,
        {
            "whole_episodes": False,
            "timesteps_per_actorbatch": 64,
            "lam": 0.95,
            "optim_stepsize": 1e-3,
            "vf_iters": 0,
            "standardise_adv": False,
            "max_grad_norm": 0.5,
            "schedule": "linear",
            "scale_returns": True,
        },
        {"mlp": ORTHOGONAL, "cnn": ORTHOGONAL},
        alg="vpg",
        checkpoint_every=1000,
    ),
}

# algorithm -> its preset, if the kind of environment does not decide
PRESET_OF_ALGORITHM = {"trpo": "trpo", "vpg": "reinforce"}


def default_preset(alg: str, kind: str, env_id: str) -> str:
    """Return the name of the preset for an algorithm and an environment.

    Args:
        alg: name of the algorithm.
        kind: kind of the environment (`common.envs.factory.env_family`).
        env_id: Gymnasium id of the environment.
    """
    if alg in PRESET_OF_ALGORITHM:
        return PRESET_OF_ALGORITHM[alg]
    if kind == "mujoco" and env_id.startswith("Humanoid"):
        return "humanoid"
    return kind if kind in PRESETS else "mujoco"
