"""Statistics of finished trainings: normalised scores, bootstrap intervals by rliable, lowest quarters, paired differences."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.paths import RESULTS
from benchmarks.returns.result_files import Line

RANDOM_EPISODES = 100
REPETITIONS = 5000  # bootstrap samples
# Unit of scores in comparisons of settings: what PPO is to reach at least, from published results and from those of former presets
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
FAILED = 0.5  # a training has failed if its score, relative to the task's target, is below this
Interval = tuple[float, float, float]  # value, low, high
Scores = Mapping[tuple[str, int], float]  # (task, seed) -> return of the final policy


class ScoreMatrix:
    """Scores by setting, seed and task; NaN for a training that has not finished.

    Attributes:
        scores: {setting: [seeds, tasks]}.
        seeds: the requested seeds.
    """

    def __init__(self, scores: dict[str, np.ndarray], seeds: Iterable[int]) -> None:
        self.scores = scores
        self.seeds = list(seeds)

    def is_complete(self, seed: int) -> bool:
        """Whether a seed has finished for every setting and task."""
        return not any(np.isnan(matrix[self.seeds.index(seed)]).any() for matrix in self.scores.values())

    def select(self, seeds: Iterable[int]) -> dict[str, np.ndarray]:
        """{setting: [len(seeds), tasks]}."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return {setting: matrix[rows] for setting, matrix in self.scores.items()}


def score_matrix(
    lines: Iterable[Line], settings: Iterable[str], tasks: Sequence[str], seeds: Sequence[int], steps: int
) -> ScoreMatrix:
    """The `ScoreMatrix` of the JSON lines of one benchmark."""
    found = {(line["setting"], line["seed"], line["env"]): line["score"] for line in lines if line["steps"] == steps}

    def scores_of(setting: str) -> np.ndarray:
        return np.array([[found.get((setting, seed, env), np.nan) for env in tasks] for seed in seeds])

    return ScoreMatrix({setting: scores_of(setting) for setting in settings}, seeds)


def random_scores(tasks: Sequence[str]) -> np.ndarray:
    """Mean return of an untrained policy on each task, [tasks]: 100 stochastic episodes, seed 0.

    Measured once per task and kept in results/random.json.
    """
    path = RESULTS / "random.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for env_id in [task for task in tasks if task not in known]:
        from common.runtime.tf_import import import_tensorflow

        import_tensorflow(threads=1)
        from baselines_ppo import MlpPolicy
        from common.envs.factory import make_env
        from common.rollouts.evaluation import evaluate

        env = make_env(env_id, training=False)
        pi = MlpPolicy("pi", env.observation_space, env.action_space)
        known[env_id] = float(evaluate(pi, env, RANDOM_EPISODES, stochastic=True)[0].mean())
        path.write_text(json.dumps(known, indent=1) + "\n")
    return np.array([known[env_id] for env_id in tasks])


def normalised(scores: dict[str, np.ndarray], random: np.ndarray) -> dict[str, np.ndarray]:
    """Scale the scores of each task so that `random` [tasks] becomes 0 and the best run of all settings 1."""
    best = np.max([matrix.max(axis=0) for matrix in scores.values()], axis=0)
    return {setting: (matrix - random) / (best - random) for setting, matrix in scores.items()}


def bootstrap(tables: tuple[np.ndarray, ...], statistic: Callable[..., float]) -> tuple[float, float]:
    """(low, high): the 95 % interval of a statistic of tables [runs, tasks], by stratified bootstrap over the runs.

    Agarwal et al. 2021. Uses a fixed seed, so the result is reproducible; NumPy's global generator is left unchanged.
    """
    from rliable import library

    state = np.random.get_state()
    np.random.seed(0)  # rliable accepts a random_state, but draws from NumPy's global generator
    try:
        _, intervals = library.get_interval_estimates(
            {"one": tables}, lambda *x: np.array([statistic(*x)]), reps=REPETITIONS
        )
    finally:
        np.random.set_state(state)
    low, high = intervals["one"][:, 0]
    return float(low), float(high)


def interval(scores: np.ndarray, statistic: Callable[[np.ndarray], float]) -> Interval:
    """(value, low, high) of a statistic of scores [runs, tasks]; NaN limits for a single run."""
    low, high = (float("nan"),) * 2 if len(scores) == 1 else bootstrap((scores,), statistic)
    return float(statistic(scores)), low, high


def difference_interval(scores: np.ndarray, others: np.ndarray) -> Interval:
    """(difference of the means, low, high) of two tables [runs, tasks]; NaN limits for a single run."""

    def difference(x: np.ndarray, y: np.ndarray) -> float:
        return float(x.mean() - y.mean())

    low, high = (float("nan"),) * 2 if len(scores) == 1 else bootstrap((scores, others), difference)
    return difference(scores, others), low, high


def format_interval(low: float, high: float) -> str:
    """An interval as text."""
    return "one seed" if np.isnan(low) else f"{low:.2f} to {high:.2f}"


def mean_interval(scores: np.ndarray) -> Interval:
    """(mean, low, high) of scores [runs, tasks]."""
    return interval(scores, np.mean)


def interquartile_interval(scores: np.ndarray) -> Interval:
    """(interquartile mean, low, high) of the scores [runs] of one task."""
    from scipy import stats

    return interval(np.asarray(scores)[:, None], lambda x: stats.trim_mean(x, 0.25, axis=None))


@dataclass(frozen=True)
class Summary:
    """Statistics of the normalised scores of one set of settings: each is a mean over tasks.

    Attributes:
        runs: number of trainings.
        middle: interquartile mean over seeds.
        lowest_quarter: mean of the lowest quarter of the seeds (the conditional value at risk at 25 %).
        lowest: lowest of all scores.
        failed: fraction of trainings below `FAILED`.
    """

    runs: int
    middle: float
    lowest_quarter: float
    lowest: float
    failed: float


@dataclass(frozen=True)
class Difference:
    """Difference between two sets of settings over the pairs of trainings with equal task and seed.

    Attributes:
        pairs: number of pairs.
        mean: mean over tasks of the mean difference of the normalised scores.
        error: its standard error over seeds, for these tasks; NaN if a task has one pair.
    """

    pairs: int
    mean: float
    error: float

    def __str__(self) -> str:
        """The mean with its error, if there is one."""
        return f"{self.mean:+.3f}" + ("" if np.isnan(self.error) else f" ± {self.error:.3f}")


def lowest_quarter_mean(scores: Sequence[float]) -> float:
    """Mean of the lowest quarter of scores, at least of one: what users get whose seed is bad."""
    ordered = np.sort(np.asarray(scores, float))
    return float(ordered[: -(-len(ordered) // 4)].mean())


def relative_to_targets(scores: Scores) -> dict[tuple[str, int], float]:
    """Scale scores so that an untrained policy has 0 and the task's target (`TARGETS`) 1."""
    tasks = sorted({task for task, _ in scores})
    random = dict(zip(tasks, random_scores(tasks)))
    return {(task, seed): (x - random[task]) / (TARGETS[task] - random[task]) for (task, seed), x in scores.items()}


def summarise(normalised: Scores) -> Summary:
    """Statistics of normalised scores; tasks have equal weights."""
    from scipy import stats

    by_task: dict[str, list[float]] = {}
    for (task, _), x in normalised.items():
        by_task.setdefault(task, []).append(x)
    tasks = by_task.values()
    return Summary(
        runs=len(normalised),
        middle=float(np.mean([stats.trim_mean(x, 0.25) for x in tasks])),
        lowest_quarter=float(np.mean([lowest_quarter_mean(x) for x in tasks])),
        lowest=min(normalised.values()),
        failed=float(np.mean([np.mean(np.array(x) < FAILED) for x in tasks])),
    )


def paired_difference(normalised: Scores, control: Scores) -> Difference | None:
    """Difference from the control over the trainings that both have; None if there is none."""
    common = sorted(normalised.keys() & control.keys())
    if not common:
        return None
    by_task: dict[str, list[float]] = {}
    for key in common:
        by_task.setdefault(key[0], []).append(normalised[key] - control[key])
    differences = [np.array(x) for x in by_task.values()]
    variances = [x.var(ddof=1) / len(x) if len(x) > 1 else np.nan for x in differences]
    mean = np.mean([x.mean() for x in differences])
    return Difference(len(common), float(mean), float(np.sqrt(np.sum(variances)) / len(differences)))
