"""Writes `curve.png` and `report.html` into a run directory."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import Any

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
from common.runs.results import RunResults
from common.storage.atomic import atomic_write
from common.storage.write_errors import user_error_on_os_error


def template_context(run: RunResults) -> tuple[bytes, dict[str, Any]]:
    """Return (curve.png, {name: value} of the template's variables)."""
    evaluations, video = read_evaluations(run.directory), run.directory / "film.gif"
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
        "video": data_uri("gif", video.read_bytes()) if video.exists() else None,
        "curve": {"wide": themed_svgs(wide), "narrow": themed_svgs(narrow), "alt": alt},
        "evaluations": evaluation_rows(evaluations),
        "panels": panels(run),
        "commands": commands(run),
        "groups": setting_groups(run),
        "versions": version_rows(run),
    }


def write_report(run: RunResults) -> None:
    """Write `curve.png` and `report.html` into a run directory, each atomically.

    Raises:
        UserError: if a file of the run cannot be read, or the directory cannot be written.
    """
    # Matplotlib's first start reports that it builds the cache of fonts
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    from jinja2 import Environment, StrictUndefined

    source = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined).from_string(source)
    with matplotlib.rc_context(RC_PARAMS):
        png, context = template_context(run)
    page = template.render(context)
    with user_error_on_os_error(run.directory):
        atomic_write(run.directory / "curve.png", png)
        atomic_write(run.directory / "report.html", page.encode())
