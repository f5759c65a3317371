"""Imports Optuna, which only the extra `tune` installs: inside a function, because other commands do not need it."""

from __future__ import annotations

import warnings
from typing import Any

from common.errors import UserError

INSTALL = "pip install -e '.[tune]'"


def load_optuna() -> Any:
    """Return the module `optuna`, without its log messages and its warnings of experimental features.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"a search of settings needs the library Optuna, which is not installed: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
