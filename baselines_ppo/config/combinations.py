"""Settings that depend on each other: combinations that are refused, and settings without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baselines_ppo.config.registry import SETTINGS, STOP_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig
from baselines_ppo.config.settings import AlgorithmSettings
from common.errors import UserError

STOP_UNITS = dict(zip(STOP_SETTINGS, ("steps", "episodes", "iterations", "seconds"), strict=True))
TWO_STARTS = "load_path and demonstrations both give the initial policy; leave one of them out"
COUNTER_NAMES = ("timesteps_so_far", "episodes_so_far", "iters_so_far", "elapsed")  # in the order of STOP_SETTINGS


def stagger_conflict(algorithm: AlgorithmSettings) -> tuple[str, str] | None:
    """Return (setting, reason) if first episodes must not end early with an algorithm's settings, else None."""
    if getattr(algorithm, "whole_episodes", False):
        return "whole_episodes=True", "an episode that is ended early is not whole"
    if not algorithm.bootstrap_time_limits:
        return "bootstrap_time_limits=False", "an episode that is ended early would count as terminated"
    return None


def unused_settings(config: ResolvedConfig) -> list[tuple[str, str]]:
    """Return [(setting, what it requires)] of explicit settings that have no effect with the other settings."""
    alg, values = config.run.alg, config.values()
    has_value = values.get("baseline", "value") == "value"
    separate_fit = has_value and values.get("vf_iters", 1) > 0
    adaptive = values.get("objective") == "adaptive_kl"
    kl_band = (adaptive, "--objective adaptive_kl")
    fit = (separate_fit, "a separate value-function fit: --vf-iters above 0, and for vpg --baseline value")
    normalised = (config.policy_kwargs.get("normalise_ob", True), "--normalise-ob true")
    cloned = (config.run.demonstrations, "--demonstrations FILE")
    widths = (config.policy_kwargs.get("hidden") is None, "layers of equal width: leave out --hidden")
    memory = (config.policy_kwargs.get("memory"), "--memory lstm or gru")
    clipped = (values.get("objective") not in ("adaptive_kl", "fixed_kl", "unclipped"), "--objective clip")
    requirements = {
        "kl_target": (
            adaptive and values["kl_min"] is None,
            "--objective adaptive_kl without --kl-min; --target-kl stops epochs early",
        ),
        "clip_param": clipped,
        "clip_schedule": clipped,
        "kl_min": kl_band,
        "kl_max": kl_band,
        "beta": (values.get("objective") in ("adaptive_kl", "fixed_kl"), "--objective adaptive_kl or fixed_kl"),
        "vf_coef": (has_value and not separate_fit, "--vf-iters 0, and for vpg --baseline value"),
        "vf_iters": (has_value, "--baseline value"),
        "vf_stepsize": (alg == "ppo" or fit[0], fit[1]),
        "vf_batchsize": fit,
        "ob_clip": normalised,
        "ob_min_std": normalised,
        "hid_size": widths,
        "num_hid_layers": widths,
        "memory_size": memory,
        "memory_steps": memory,
        "demonstration_epochs": cloned,
        "demonstration_stepsize": cloned,
    }
    return [(name, what) for name, (used, what) in requirements.items() if name in config.explicit and not used]


def check_flag_combinations(explicit: Mapping[str, Any]) -> None:
    """Raise UserError for `eval_episodes` without `eval_every`, `film` without `report`, and two initial policies."""
    if explicit.get("load_path") and explicit.get("demonstrations"):
        raise UserError(TWO_STARTS)
    if explicit.get("film") and explicit.get("report") is False:
        raise UserError("--film needs --report: the video is created with the report; leave one of them out")
    if "eval_episodes" in explicit and "eval_every" not in explicit:
        raise UserError(
            "--eval-episodes needs --eval-every N: without it there is no evaluation during training; "
            "to evaluate a trained policy use --play --load-path RUN"
        )


def describe_length(config: ResolvedConfig, ranks: int, counters: Mapping[str, float] | None) -> list[str]:
    """Return lines on the length of a run: steps rounded up to whole iterations, or that nothing is left to do.

    Args:
        config: of the run.
        ranks: number of ranks.
        counters: of the checkpoint that the run resumes from; None for none.
    """
    limits = config.run.stop_criteria()
    done: list[Any] = [counters[name] if counters else 0 for name in COUNTER_NAMES]
    if limits.progress(*done) >= 1:
        name, count = next((name, n) for name, n in zip(STOP_SETTINGS, done, strict=True) if getattr(config.run, name))
        limit = f"{SETTINGS[name].flag} is {getattr(config.run, name):,}"
        return [
            f"resume: nothing is left to do: the run has had {count:,.0f} {STOP_UNITS[name]}, and {limit}; "
            "raise it to continue"
        ]
    per_iteration = config.rollout_steps * ranks
    end = limits.rounded_up(done[0], per_iteration)
    if not limits.max_timesteps or end == limits.max_timesteps or getattr(config.algorithm, "whole_episodes", False):
        return []
    return [
        f"--num-timesteps {limits.max_timesteps:,} becomes {end:,} steps: the run has whole iterations of "
        f"{per_iteration:,} steps"
    ]
