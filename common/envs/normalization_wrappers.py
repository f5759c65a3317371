"""Finds wrappers with running statistics, such as Gymnasium's `NormalizeObservation`, which no file of a run stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym

# Gymnasium's wrapper -> what its statistics describe
WRAPPERS = {"NormalizeObservation": "observations", "NormalizeReward": "rewards"}
# attribute -> the wrapper that has it, to find wrappers in other processes
ATTRIBUTES = {"obs_rms": "NormalizeObservation", "return_rms": "NormalizeReward"}


def running_statistics(env: Any) -> dict[str, str]:
    """Find the layers of an environment that normalise with running statistics.

    The environments inside a vector environment are searched too; in other processes only Gymnasium's wrappers are
    found. Constant statistics (`update_running_mean` is False) are the caller's choice, and are not reported.

    Returns:
        {name of the layer's class: "observations" or "rewards"}.
    """
    found: dict[str, str] = {}
    reached = set()
    for layer in layers(env):
        reached.add(type(layer).__name__)
        if isinstance(layer, (gym.Env, gym.vector.VectorEnv)) and (what := statistics_in(layer)):
            found[type(layer).__name__] = what
        found |= getattr(layer, "statistics_inside", {})
        if isinstance(layer, gym.vector.AsyncVectorEnv):
            found |= {
                name: WRAPPERS[name]
                for attribute, name in ATTRIBUTES.items()
                if any(layer.call("has_wrapper_attr", attribute))
            }
    named = [one.name for one in getattr(getattr(env, "spec", None), "additional_wrappers", None) or ()]
    return found | {name: WRAPPERS[name] for name in named if name in WRAPPERS and name not in reached}


def layers(env: Any, seen: tuple[int, ...] = ()) -> Iterator[Any]:
    """Yield an environment, those that it wraps, and those inside a vector environment."""
    while env is not None and id(env) not in seen:
        yield env
        seen = (*seen, id(env))
        if isinstance(getattr(env, "envs", None), (list, tuple)):
            for one in env.envs:
                yield from layers(one, seen)
        env = getattr(env, "env", None)


def statistics_in(layer: Any) -> str | None:
    """Return "observations" or "rewards" if a layer updates running statistics of them; None if it has none."""
    if getattr(layer, "update_running_mean", True) is False:
        return None
    own = [name for name, x in vars(layer).items() if name in ATTRIBUTES or is_running(x)]
    if not own:
        return None
    return "rewards" if all("ret" in name or "rew" in name for name in own) else "observations"


def is_running(x: Any) -> bool:
    """Whether an object is a running mean and variance, like those of Gymnasium, Stable-Baselines3 and this package.

    A data frame has methods of these names.
    """
    return all(hasattr(x, name) and not callable(getattr(x, name)) for name in ("mean", "var", "count")) and callable(
        getattr(x, "update", None)
    )


def describe_statistics(found: Mapping[str, str], instead: Mapping[str, str]) -> str:
    """Return a one-line warning about running statistics.

    Args:
        found: the result of `running_statistics`.
        instead: {"observations": the setting that does the same and is saved, "rewards": likewise}, as the caller
            spells it.
    """
    names, settings = ", ".join(found), " and ".join(dict.fromkeys(instead[what] for what in found.values()))
    return (
        f"the environment has {names}, whose running statistics are not saved: evaluations and resumed runs start "
        f"without them; use {settings} instead, which is saved with the policy and in checkpoints"
    )
