"""Statistics of finished trainings: normalised scores, and bootstrap intervals by rliable."""

import json
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks.paths import RESULTS
from benchmarks.returns.result_files import Line

RANDOM_EPISODES = 100
REPETITIONS = 5000  # bootstrap samples
Interval = tuple[float, float, float]  # value, low, high


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
