"""A run as one page: `report.html` and `curve.png` in its folder, (re)drawn at any time, also of a run that is under way or was killed.

    python -m baselines_ppo.report runs/mine
    python -m baselines_ppo.report runs/mine --film        with an episode of its policy, film.gif, also among TensorBoard's images

Only --film imports TensorFlow.
"""

import io
import logging
import sys
import time
from pathlib import Path

from baselines_ppo.cli.errors import run_command
from baselines_ppo.cli.options import Parser, path_argument
from baselines_ppo.experiment.progress import last_value
from baselines_ppo.report.figures import RC_PARAMS, curve_figure, data_uri, panels, themed_svgs
from baselines_ppo.report.summary import (
    commands,
    evaluation_rows,
    format_timestamp,
    headline_metrics,
    read_evaluations,
    setting_groups,
    subtitle,
    version_rows,
)
from common.errors import EnvError, UserError
from common.runs.results import PROGRESS, RunResults
from common.storage.atomic import atomic_write
from common.storage.paths import writable_file
from common.storage.write_errors import user_error_on_os_error

PROG = "baselines_ppo.report"


def template_context(run):
    """(curve.png as bytes, {name: what the template puts there})."""
    evaluations, film = read_evaluations(run.directory), run.directory / "film.gif"
    wide, narrow = (curve_figure(run, evaluations, size) for size in ((9.5, 3.9), (3.8, 3.4)))
    png = io.BytesIO()
    wide.savefig(png, format="png", dpi=150)
    headlines = headline_metrics(run, evaluations)
    alt = f"Return against steps; {'; '.join(f'{label} {value}' for label, value, _ in headlines[:2])}"
    return png.getvalue(), {
        "title": run.env or run.directory.resolve().name,
        "subtitle": subtitle(run),
        "folder": run.directory.resolve(),
        "started": format_timestamp(run.config.get("started")),
        "drawn": format_timestamp(time.strftime("%Y-%m-%dT%H:%M:%S%z")),
        "headline": headlines,
        "film": data_uri("gif", film.read_bytes()) if film.exists() else None,
        "curve": {"wide": themed_svgs(wide), "narrow": themed_svgs(narrow), "alt": alt},
        "evaluations": evaluation_rows(evaluations),
        "panels": panels(run),
        "commands": commands(run),
        "groups": setting_groups(run),
        "versions": version_rows(run),
    }


def draw(run):
    """Write `curve.png` and `report.html` into a run's folder, each whole or not at all.

    Raises:
        UserError: if a file of the run cannot be read, or the folder not written.
    """
    logging.getLogger("matplotlib").setLevel(
        logging.ERROR
    )  # or its first start tells that it looks for fonts, and where there is no cache
    import matplotlib
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined).from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    with matplotlib.rc_context(RC_PARAMS):
        png, contents = template_context(run)
    page = template.render(contents)
    with user_error_on_os_error(run.directory):
        atomic_write(run.directory / "curve.png", png)
        atomic_write(run.directory / "report.html", page.encode())


# ---- the film


def make_film(run):
    """Play one deterministic episode of a run's policy into `film.gif` and TensorBoard.

    Returns:
        None, or one line on why there is no film.
    """
    from baselines_ppo.play.policy_env import load_policy_and_env
    from baselines_ppo.play.video import Recorder, film_episode
    from common.rollouts.evaluation import evaluate
    from common.runtime.cpu import usable_cpu_count
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=usable_cpu_count())
    seed, path = run.settings.get("seed") or 0, run.directory / "film.gif"
    try:
        pi, env, env_id, env_kwargs = load_policy_and_env(run.directory)
    except UserError as error:
        return f"no film: {error}"
    recorder = Recorder(env)
    try:
        evaluate(pi, recorder, 1, stochastic=False, seed=seed)
    except EnvError as fault:
        return f"no film: {fault.describe('fix the environment')}"
    env.close()
    shape, _, warning = film_episode(env_id, env_kwargs, seed, recorder.actions, path)
    if warning is None:
        to_tensorboard(run.directory / "tb", path.read_bytes(), shape, int(last_value(run, "steps") or 0))
    return warning


def to_tensorboard(folder, gif, shape, steps):
    """Write an animated image under the tag "film".

    Args:
        gif: its bytes.
        shape: (height, width, ...) of its frames.
        steps: where in the run.
    """
    import tensorflow as tf
    from tensorboard.plugins.image import metadata

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(steps):  # the images plugin reads [width, height, encoded images ...]
        tf.summary.write(
            "film",
            tf.constant([str(shape[1]).encode(), str(shape[0]).encode(), gif]),
            metadata=metadata.create_summary_metadata(None, None),
        )
    writer.close()


def main(argv=None):
    """`python -m baselines_ppo.report`: returns the exit status; 2 is a mistake in what was asked for."""
    return run_command(lambda: report(argv), PROG)


def report(argv):
    """Draw the report of a run."""
    parser = Parser(prog=PROG, description="Draw curve.png and report.html of a run into its folder.")
    parser.add_argument("run", metavar="RUN", type=path_argument, help="the run's folder; it may be under way")
    parser.add_argument(
        "--film",
        action="store_true",
        help="film an episode of its policy, too: film.gif, on the page and in TensorBoard",
    )
    args = parser.parse_args(argv)
    run = RunResults(args.run)
    if not args.run.is_dir() or not (run.config or run.monitors or run.progress):
        raise UserError(f"{args.run}: no run there; give a folder with config.json, {PROGRESS} or *.monitor.csv")
    writable_file(args.run / "report.html", "report")
    if args.film and (warning := make_film(run)):
        print(f"{PROG}: {warning}", file=sys.stderr)
    draw(run)
