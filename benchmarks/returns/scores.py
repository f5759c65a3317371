"""From finished trainings to tables and figures: normalised scores, bootstrap intervals (rliable), Markdown, matplotlib."""

import json

import numpy as np

from benchmarks.paths import RESULTS

RANDOM_EPISODES = 100
REPETITIONS = 5000  # of the bootstrap


class ScoreMatrix:
    """Scores by setting, seed and task; what has not finished is NaN.

    Attributes:
        seeds: those asked for.
    """

    def __init__(self, scores, seeds):
        self.scores, self.seeds = scores, list(seeds)

    def complete(self, seed):
        """Whether a seed has finished everywhere."""
        return not any(np.isnan(matrix[self.seeds.index(seed)]).any() for matrix in self.scores.values())

    def of(self, seeds):
        """{setting: [len(seeds), tasks]}."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return {setting: matrix[rows] for setting, matrix in self.scores.items()}


def score_matrix(lines, settings, tasks, seeds, steps):
    """A `ScoreMatrix` of the JSON lines of one benchmark."""
    found = {(line["setting"], line["seed"], line["env"]): line["score"] for line in lines if line["steps"] == steps}
    return ScoreMatrix(
        {
            setting: np.array([[found.get((setting, seed, env), np.nan) for env in tasks] for seed in seeds])
            for setting in settings
        },
        seeds,
    )


def random_scores(tasks):
    """Mean return of an untrained policy on each task, [tasks]: 100 stochastic episodes, seed 0; kept in results/random.json."""
    path = RESULTS / "random.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for env_id in [one for one in tasks if one not in known]:
        from common.runtime.tf_import import import_tensorflow

        import_tensorflow(threads=1)
        from baselines_ppo import MlpPolicy
        from baselines_ppo.play.command import evaluate
        from common.envs.factory import make_env

        env = make_env(env_id, training=False)
        pi = MlpPolicy("pi", env.observation_space, env.action_space)
        known[env_id] = float(evaluate(pi, env, RANDOM_EPISODES, stochastic=True)[0].mean())
        path.write_text(json.dumps(known, indent=1) + "\n")
    return np.array([known[env_id] for env_id in tasks])


def normalised(scores, random):
    """Scores shifted and scaled per task: `random` [tasks] becomes 0, the best run of all settings 1."""
    best = np.max([matrix.max(axis=0) for matrix in scores.values()], axis=0)
    return {setting: (matrix - random) / (best - random) for setting, matrix in scores.items()}


def bootstrap(scores, statistic):
    """(low, high) of a statistic of tables [runs, tasks], a tuple: a 95 % interval by stratified bootstrap over the runs of each (Agarwal et al. 2021);
    the same whenever it is asked for."""
    from rliable import library

    before = np.random.get_state()
    np.random.seed(0)  # rliable takes a random_state, and draws from NumPy's global generator all the same
    try:
        _, intervals = library.get_interval_estimates(
            {"one": scores}, lambda *x: np.array([statistic(*x)]), reps=REPETITIONS
        )
    finally:
        np.random.set_state(before)
    return tuple(float(x) for x in intervals["one"][:, 0])


def interval(scores, statistic):
    """(value, low, high) of a statistic of scores [runs, tasks], by `bootstrap`."""
    return float(statistic(scores)), *((float("nan"),) * 2 if len(scores) == 1 else bootstrap((scores,), statistic))


def difference_interval(scores, others):
    """(mean of `scores` less mean of `others`, low, high), both [runs, tasks], by `bootstrap`."""

    def difference(x, y):
        return float(x.mean() - y.mean())

    return difference(scores, others), *(
        (float("nan"),) * 2 if len(scores) == 1 else bootstrap((scores, others), difference)
    )


def span(low, high):
    """An interval in words."""
    return "one seed" if np.isnan(low) else f"{low:.2f} to {high:.2f}"


def bootstrap_interval(scores):
    """(mean, low, high) of scores [runs, tasks]."""
    return interval(scores, np.mean)


def interquartile_interval(scores):
    """(interquartile mean, low, high) of one task's scores [runs]."""
    from scipy import stats

    return interval(np.asarray(scores)[:, None], lambda x: stats.trim_mean(x, 0.25, axis=None))


def markdown_table(header, rows):
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [" | ".join(header), " | ".join(["---", *["--:"] * (len(header) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def pyplot_headless():
    """matplotlib.pyplot, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def bar_figure(path, intervals, reference, label):
    """Horizontal bars with intervals {name: (mean, low, high)}, and the published number of each as a mark."""
    pyplot = pyplot_headless()
    names = list(intervals)[::-1]
    mean, low, high = np.array([intervals[name] for name in names]).T
    figure, axes = pyplot.subplots(figsize=(7, 0.4 * len(names) + 1), layout="constrained")
    axes.barh(
        names,
        mean,
        xerr=np.nan_to_num([mean - low, high - mean]),
        color="#7aa6c2",
        capsize=3,
        label="here, 95 % interval",
    )
    axes.plot([reference[name] for name in names], names, "D", color="#b5483a", label="the paper")
    axes.set_xlabel(label)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def curve_figure(path, lines, settings, tasks, bar="", bars=None):
    """Learning curves, a panel a task: the mean over seeds of the last 100 episodes' mean return, and the range of the seeds.

    Args:
        bar: what `bars` {task: return} are, for the legend; each is a dashed line.
    """
    pyplot = pyplot_headless()
    columns = min(4 if len(tasks) <= 8 else 5, len(tasks))
    figure, panels = pyplot.subplots(
        -(-len(tasks) // columns),
        columns,
        figsize=(3.4 * columns, 2.8 * -(-len(tasks) // columns)),
        layout="constrained",
        squeeze=False,
    )
    for panel, env in zip(panels.flat, tasks):
        for setting in settings:
            curves = [
                np.array(line["curve"])
                for line in lines
                if line["env"] == env and line["setting"] == setting and line["curve"]
            ]
            if curves:
                steps = np.linspace(max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves), 100)
                values = np.array([np.interp(steps, c[:, 0], c[:, 1]) for c in curves])
                panel.plot(steps, values.mean(axis=0), label=setting)
                panel.fill_between(steps, values.min(axis=0), values.max(axis=0), alpha=0.2)
        if (bars or {}).get(env) is not None:
            panel.axhline(bars[env], color="black", linestyle="--", linewidth=0.8, label=bar)
        panel.set_title(env, fontsize=10)
        panel.ticklabel_format(axis="x", scilimits=(6, 6))
    for panel in panels.flat[len(tasks) :]:
        panel.set_axis_off()
    panels.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
