"""Published returns of on-policy algorithms after 1M steps on Gym's MuJoCo tasks, with their sources and measures.

The measures differ, so a comparison with them is not a race: see results/returns.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where results were published.

    Attributes:
        name: short name.
        link: address of the page with the numbers.
        seeds: number of trainings.
        measure: what a number is the mean of.
    """

    name: str
    link: str
    seeds: int
    measure: str


@dataclass(frozen=True)
class Published:
    """One published result.

    Attributes:
        algorithm: its name in the source.
        value: mean return.
        spread: standard deviation as given by the source.
        source: the `Source`.
    """

    algorithm: str
    value: float
    spread: float
    source: Source

    def __str__(self) -> str:
        """The result as Markdown: algorithm, value, spread and link."""
        return f"{self.algorithm} {self.value:,} ± {self.spread:,} ([{self.source.name}]({self.source.link}))"


SB3_CONTRIB = Source(
    "sb3-contrib",
    "https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/blob/master/docs/modules/trpo.md",
    3,
    "last deterministic evaluation, 20 episodes",
)
TIANSHOU = Source(
    "Tianshou",
    "https://github.com/thu-ml/tianshou/blob/master/examples/mujoco/README.md",
    10,
    "maximum over the evaluations of a training, 10 episodes each",
)

# the best of those with at least three seeds
BEST_ON_POLICY = {
    "Ant-v4": Published("TRPO", 3554, 591, SB3_CONTRIB),
    "HalfCheetah-v4": Published("PPO", 5784, 1244, TIANSHOU),
    "Hopper-v4": Published("TRPO", 3372, 215, SB3_CONTRIB),
    "Walker2d-v4": Published("TRPO", 4502, 234, SB3_CONTRIB),
    "Swimmer-v4": Published("TRPO", 359, 2, SB3_CONTRIB),
    "Humanoid-v4": Published("A2C", 1726, 1070, TIANSHOU),
    "Reacher-v4": Published("PPO", -4.1, 0.3, TIANSHOU),
    "InvertedPendulum-v4": Published("PPO", 1000, 0, TIANSHOU),
    "InvertedDoublePendulum-v4": Published("A2C", 9258, 277, TIANSHOU),
}
# what the preset `mujoco` is tuned to reach, which is also the unit of scores in comparisons of settings
TARGETS = {
    "Ant-v4": 4700,
    "HalfCheetah-v4": 6200,
    "Hopper-v4": 3200,
    "Walker2d-v4": 4502,
    "Swimmer-v4": 340,
    "Humanoid-v4": 2640,
    "Reacher-v4": -4.0,
    "InvertedPendulum-v4": 1000,
    "InvertedDoublePendulum-v4": 9300,
}
