"""Presets: settings as sets, chosen by the kind of environment. Counts are totals over all ranks unless a preset says `per_rank`.

Imports no TensorFlow.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Preset:
    """A set of settings.

    Attributes:
        doc: what it is for, and where it is from.
        alg: the algorithm that it is for.
        num_timesteps: default length of a run.
        num_envs: environments; in all, or per rank.
        learn: fields of the algorithm's settings that differ from their defaults; batch and minibatch in all, or per rank.
        policy: keyword arguments of the policy, by kind of policy.
        per_rank: counts are per rank, as Baselines means them.
        stagger: first episodes end early (`RunSettings.stagger`), where the algorithm's settings allow it.
        checkpoint_every: iterations between checkpoints, which cut all episodes: many episodes long, whatever the segment.
    """

    doc: str
    num_timesteps: int
    num_envs: int = 1
    learn: dict = field(default_factory=dict)
    policy: dict = field(default_factory=dict)
    per_rank: bool = False
    alg: str = "ppo"
    stagger: bool = False
    checkpoint_every: int = 25


# Departures from 2017 on MuJoCo, each with its reason and, where one is known, its effect on the final policy by the screening of 64 runs on HalfCheetah,
# Walker2d, Ant and Hopper (benchmarks/results/returns.md): a regression's, in thousands of return, standard error 0.24:
# none of these is told apart from nothing by itself. "Left out": what the preset loses without it alone, in the same units, eight pairs of runs, standard
# error 0.28 to 0.39. All of them together: that page.
MUJOCO = {
    "schedule": "linear",  # the last steps settle; Baselines' run_mujoco has it, too; left out 0.33
    "lam": 0.9,  # returns are scaled and V is soon good: less variance for a little more bias; +0.38 over 0.95
    "optim_batchsize": 128,  # +0.31 over 64
    "scale_returns": True,  # one step size for tasks of any reward scale: Engstrom et al. 2020; left out 0.72
    "vf_coef": 0.5,
}
# orthogonal weights (left out 0.05), a small last layer and a first log std below 0: Andrychowicz et al. 2020, section 3.2
ORTHOGONAL = {"init": "orthogonal"}
# a first log std of -1: +0.20 over -0.5, and HalfCheetah 6,233 for 5,140, Walker2d 4,727 for 3,319, Ant 4,957 for 4,584, Hopper 3,267 for 2,605 (seeds 402
# and 403); 1e-4 (left out 0.11): observations of MuJoCo are in units of their own, and a foot's or a finger's may be small ones
CONTINUOUS = ORTHOGONAL | {"init_logstd": -1.0, "ob_min_std": 1e-4}

PRESETS = {
    "ppo1": Preset(
        "Baselines' run_mujoco: the 2017 settings, step size decayed linearly, counts per rank",
        1_000_000,
        1,
        {"schedule": "linear"},
        {},
        per_rank=True,
    ),
    "paper": Preset(
        "the MuJoCo experiments of Schulman et al. 2017: as ppo1, but the step size stays constant",
        1_000_000,
        1,
        per_rank=True,
    ),
    # Eight environments beside one: HalfCheetah 6,927 and 3,740, Walker2d 4,739 and 4,271 (seed 100). Their first episodes end early, each at another step,
    # so that a segment holds all parts of an episode: +0.33. A checkpoint cuts all episodes, and an environment of eight makes 256 steps an iteration: 100
    # iterations are 25 whole episodes of a thousand.
    "mujoco": Preset(
        "MuJoCo's continuous control, and any environment of no other kind",
        1_000_000,
        8,
        MUJOCO,
        {"mlp": CONTINUOUS, "cnn": ORTHOGONAL},
        stagger=True,
        checkpoint_every=100,
    ),
    "humanoid": Preset(
        "Humanoid and its like, many joints: as mujoco, with longer segments and more steps",
        10_000_000,
        8,
        MUJOCO | {"timesteps_per_actorbatch": 4096},
        {"mlp": CONTINUOUS, "cnn": ORTHOGONAL},
        stagger=True,
        checkpoint_every=100,
    ),
    # no observation filter: classic control's observations are bounded and small, and a filter that follows the policy to the goal leaves
    # the start states far out. Pendulum, deterministic, seeds 1, 101, 102: -222, -172, -163 without it, -256, -214, -231 with it.
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
        "Atari: the paper's table 5, in all 8 environments of 128 steps, step size and clip range annealed",
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
    # Baselines' run_mujoco has 1024 steps and lambda 0.98. Hopper, a million steps, last 100 episodes: seed 100 1,616 with its settings, 2,067 with
    # lambda 0.95, 2,713 with 2048 steps too; seeds 100 to 102 with both 2,111 on average, 2,293 with orthogonal weights and less noise at first.
    "trpo": Preset(
        "Baselines' run_mujoco for TRPO, with longer segments, a shorter lambda and another start",
        1_000_000,
        1,
        {"timesteps_per_batch": 2048, "lam": 0.95, "cg_damping": 0.1, "vf_stepsize": 1e-3, "vf_iters": 5},
        {"mlp": ORTHOGONAL | {"init_logstd": -0.5}, "cnn": ORTHOGONAL},
        alg="trpo",
    ),
    "reinforce": Preset(
        "REINFORCE: whole episodes, returns to go, a learned baseline fitted apart",
        300_000,
        1,
        {"schedule": "linear"},
        alg="vpg",
    ),
    "a2c": Preset(
        "advantage actor-critic: short segments of many environments, one gradient step each",
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

# algorithm -> its preset where the kind of environment does not decide
BY_ALGORITHM = {"trpo": "trpo", "vpg": "reinforce"}


def default_preset(alg, kind, env_id):
    """The preset's name for an algorithm and a kind of environment (`common.envs.factory.kind_of`)."""
    if alg in BY_ALGORITHM:
        return BY_ALGORITHM[alg]
    if kind == "mujoco" and env_id.startswith("Humanoid"):
        return "humanoid"
    return kind if kind in PRESETS else "mujoco"


def split_over_ranks(total, ranks, multiple=1):
    """One rank's part of a total: at least `multiple`, and a multiple of it."""
    return max(total // ranks // multiple, 1) * multiple
