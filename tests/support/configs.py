"""Resolved configs for tests, and config.json files that hold them."""

import json

from baselines_ppo.cli.parser import parse
from baselines_ppo.config.config_files import CONFIG_FORMAT, load_overrides
from baselines_ppo.experiment.setup import resolve_config

CORES = 2


def config_for(*argv, ranks=1):
    """The config of a run of CartPole-v1 with further arguments of the command line."""
    explicit, _ = parse(["--env", "CartPole-v1", *argv])
    return resolve_config(explicit, ranks, CORES)


def config_from_file(path, explicit=None, ranks=1):
    """The config of a run with `--config PATH` and explicit settings."""
    return resolve_config(load_overrides(path, explicit or {}, ranks)[0], ranks, CORES)


def config_json(config, ranks=1, explicit=None):
    """Return the contents of config.json for a config."""
    stored = config.explicit if explicit is None else explicit
    return {"format": CONFIG_FORMAT, "ranks": ranks, "settings": config.to_dict(), "typed": stored}


def write_json(directory, content):
    """Write a config.json and return its path."""
    directory.mkdir(exist_ok=True)
    path = directory / "config.json"
    path.write_text(json.dumps(content))
    return path
