"""Published returns after 1M steps that results are compared with; each has its source, number of seeds and measure.

python -m benchmarks.returns.published     write results/published.md
"""

from dataclasses import dataclass

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS

TIANSHOU = "https://github.com/thu-ml/tianshou/blob/master/examples/mujoco/README.md"
ZOO = "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md"
SB3_CONTRIB = "https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/blob/master/docs/modules/trpo.md"
PAPER_2017 = "https://arxiv.org/abs/1707.06347"  # Schulman et al. 2017: figure 3, and table 1 with three seeds
# source -> (its name, what ± and the value are)
SOURCES = {
    TIANSHOU: (
        "Tianshou",
        "highest point of the mean curve over seeds of evaluations with 10 episodes; ± over seeds",
    ),
    ZOO: ("RL Zoo", "one deterministic policy for 150,000 steps; ± over episodes"),
    SB3_CONTRIB: ("sb3-contrib", "last of the deterministic evaluations with 20 episodes; ± as the source gives it"),
}

CURVE = "about this, read by Tianshou from a curve of the training returns of another implementation"


@dataclass(frozen=True)
class Published:
    """One published return.

    Attributes:
        algorithm: PPO, TRPO or A2C.
        value: mean return.
        spread: what the source gives after ±; None if nothing.
        seeds: number of trainings; None if the source does not give it.
        source: address; a key of `SOURCES`.
        version: of the Gym task.
        measure: what was measured; None: as all of the source's.
    """

    algorithm: str
    value: float
    spread: float | None
    seeds: int | None
    source: str
    version: str = "v3"
    measure: str | None = None

    def row(self, task: str) -> tuple[str, ...]:
        """The row of the table of sources."""
        name, measure = SOURCES[self.source]
        value = f"{self.value:,}" + ("" if self.spread is None else f" ± {self.spread:,}")
        seeds = "not given" if self.seeds is None else str(self.seeds)
        return task, self.algorithm, value, seeds, f"[{name}]({self.source}), -{self.version}", self.measure or measure


BEST_PPO = {
    "Ant-v4": Published("PPO", 3258, 1079, 10, TIANSHOU),
    "HalfCheetah-v4": Published("PPO", 5819, 664, 1, ZOO),
    "Hopper-v4": Published("PPO", 2609, 701, 10, TIANSHOU),
    "Walker2d-v4": Published("PPO", 4000, None, None, TIANSHOU, "v2", CURVE),
    "Swimmer-v4": Published("PPO", 282, 10, 1, ZOO),
    "Humanoid-v4": Published("PPO", 787, 194, 10, TIANSHOU),
    "Reacher-v4": Published("PPO", -4.1, 0.3, 10, TIANSHOU, "v2"),
    "InvertedPendulum-v4": Published("PPO", 1000, 0, 10, TIANSHOU, "v2"),
    "InvertedDoublePendulum-v4": Published("PPO", 9231, 270, 10, TIANSHOU, "v2"),
}
# of any on-policy algorithm, with at least three seeds if there is such a result
BEST_ON_POLICY = BEST_PPO | {
    "Ant-v4": Published("TRPO", 3554, 591, 3, SB3_CONTRIB),
    "Hopper-v4": Published("TRPO", 3372, 215, 3, SB3_CONTRIB),
    "Walker2d-v4": Published("TRPO", 4502, 234, 3, SB3_CONTRIB),
    "Swimmer-v4": Published("TRPO", 359, 2, 3, SB3_CONTRIB),
    "Humanoid-v4": Published("A2C", 1726, 1070, 10, TIANSHOU),
    "InvertedDoublePendulum-v4": Published("A2C", 9258, 277, 10, TIANSHOU, "v2"),
}


def page() -> str:
    """The text of results/published.md."""
    columns = ("task", "algorithm", "return", "seeds", "source", "measure")
    ppo = markdown_table(columns, [one.row(task) for task, one in BEST_PPO.items()])
    others = {task: one for task, one in BEST_ON_POLICY.items() if one is not BEST_PPO[task]}
    on_policy = markdown_table(columns, [one.row(task) for task, one in others.items()])
    return f"""# Published returns

Written by `python -m benchmarks.returns.published`. Returns after 1M steps. The sources have other versions of the tasks, other measures and other numbers of seeds than our
[returns](returns.md): small differences mean nothing.

## Best PPO that we found

{ppo}

Tianshou's own PPO has 3,589 ± 757 on Walker2d, with ten seeds.

## Better results of other on-policy algorithms

{on_policy}

Single trainings have been published with more: TRPO in the RL Zoo with 4,982 on Ant.
"""


def main() -> None:
    (RESULTS / "published.md").write_text(page())


if __name__ == "__main__":
    main()
