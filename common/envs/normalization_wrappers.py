"""Wrappers that keep running statistics of their own, such as Gymnasium's `NormalizeObservation`: no file of a run holds those."""

import gymnasium as gym

WRAPPERS = {
    "NormalizeObservation": "observations",
    "NormalizeReward": "rewards",
}  # Gymnasium's: what their statistics are of
ATTRIBUTES = {
    "obs_rms": "NormalizeObservation",
    "return_rms": "NormalizeReward",
}  # what tells them from outside of their process


def running_statistics(env):
    """{name of a wrapper's class: "observations" or "rewards"} of the layers of an environment that normalise by what they have seen so far.

    They are looked for in the environments of a vector environment, too; where those are in other processes, Gymnasium's own are found. Statistics that stand
    still (`update_running_mean` is False) are the caller's, and not among them.
    """
    found, reached = {}, set()
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


def layers(env, seen=()):
    """An environment, those that it wraps, and of a vector environment those inside."""
    while env is not None and id(env) not in seen:
        yield env
        seen = (*seen, id(env))
        if isinstance(getattr(env, "envs", None), (list, tuple)):
            for one in env.envs:
                yield from layers(one, seen)
        env = getattr(env, "env", None)


def statistics_in(layer):
    """ "observations" or "rewards", if a layer has running statistics of them that are still updated; None if it has none."""
    if getattr(layer, "update_running_mean", True) is False:
        return None
    own = [name for name, x in vars(layer).items() if name in ATTRIBUTES or is_running(x)]
    if not own:
        return None
    return "rewards" if all("ret" in name or "rew" in name for name in own) else "observations"


def is_running(x):
    """Whether an object is a running mean and variance, as Gymnasium's, Stable-Baselines3's and this package's are: a table of data has methods of these
    names."""
    return all(hasattr(x, name) and not callable(getattr(x, name)) for name in ("mean", "var", "count")) and callable(
        getattr(x, "update", None)
    )


def in_words(found, instead):
    """One line on `running_statistics`.

    Args:
        found: what it gave.
        instead: {"observations": the setting that has the same and is saved, "rewards": likewise}, in the caller's words.
    """
    names, settings = ", ".join(found), " and ".join(dict.fromkeys(instead[what] for what in found.values()))
    return (
        f"the environment has {names}, whose running statistics are in no file: evaluations and runs that go on start without them; use {settings} "
        "instead, which is saved with the policy and in checkpoints"
    )
