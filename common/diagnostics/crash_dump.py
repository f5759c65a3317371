"""What is left where a number is not finite: `post-mortem/iteration-<number>.safetensors` in the run's folder, written by rank 0, or by the rank
whose policy gave an action that is not finite.

To look at it:

    from baselines_ppo import load_policy
    from common.hints import SCALE_REWARDS
from common.storage.array_files import load_arrays
    from common.diagnostics.crash_dump import FORMAT, PREFIXES

    path = "runs/.../post-mortem/iteration-00000012.safetensors"
    arrays, said = load_arrays(path, FORMAT)
    print(said["error"], said["minibatch"], said["terms"], said["stepsize"], said["scalars"])
    for name, x in arrays.items():
        print(name, x.shape, x.dtype, x.min(), x.max())
    pi = load_policy(path)                                             # as it was when the iteration began; a class of your own: its load(path)
    pi.restore({name.removeprefix("then/pi/"): x for name, x in arrays.items() if name.startswith("then/pi/")})  # before the minibatch
    flat, vpred = pi.forward(arrays["minibatch/x"])

`PREFIXES` says what the arrays are.
"""

import numpy as np

from common.hints import SCALE_REWARDS
from common.storage.array_files import save_arrays

FORMAT = "baselines_ppo.post_mortem"
PREFIXES = {
    "pi/": "the policy when the iteration began",
    "start/": "Adam's moments m and v and steps t when the sweep began, where the sweep is one call",
    "then/": "all that a checkpoint holds, before the minibatch; where no minibatch is named, at the end",
    "minibatch/": "rows of all ranks, one rank after the other, as the losses read them; weights: theirs in a mean; rows: their numbers t * K + k, "
    "on from rank to rank where segments were gathered",
    "acted/": "where an action is not finite: the environment's observations and actions of the segment up to it, which is the last",
    "segment/": "rank 0's segment: observations, actions, rewards, advantages and targets as they were collected",
}
SEGMENT = (
    "ob",
    "ac",
    "rew",
    "new",
    "terminated",
    "truncated",
    "valid",
    "flatparam",
    "vpred",
    "nextvpred",
    "final_vpred",
    "adv",
    "tdlamret",
    "last_ob",
)
FORWARD = "its forward gave that at a finite observation: mend it, or take a smaller step size"
# a minibatch's arrays in the order in which one follows from the other: what each is, and what to do
INPUTS = {
    "x": ("a prepared observation", "bring the observations to the order of 1"),
    "flatparam": ("an output of the policy that acted", FORWARD),
    "ac": ("an action", FORWARD),
    "vpred": ("a value of the policy that acted", FORWARD),
    "ret": ("a value target", SCALE_REWARDS),
    "atarg": ("an advantage", SCALE_REWARDS),
}
LARGE = 1e6
NO_MINIBATCH = {"minibatch": None, "terms": None, "stepsize": None, "scalars": None}


def explain_nonfinite(rows, largest_parameter):
    """(why, fix) of a minibatch with a number that is not finite, as far as its rows show it.

    Args:
        rows: {name: [B, ...]} as the losses read them.
        largest_parameter: its absolute value, before the minibatch.
    """
    for name, (what, fix) in INPUTS.items():
        x = rows.get(name, np.zeros(0))
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            return f"where {what} is {x[~np.isfinite(x)][0]}", fix
    target = np.abs(rows.get("ret", np.zeros(1))).max()
    fix = (
        "take a smaller step size"
        if largest_parameter > LARGE
        else SCALE_REWARDS
        if target > LARGE
        else "take a smaller step size, or look at the rewards"
    )
    return f"with value targets up to {target:.3g} and parameters up to {largest_parameter:.3g}", fix


def first_not_finite(part, state):
    """The words on the first array of a {name: array} that is not finite everywhere; None if there is none."""
    for name, x in state.items():
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            return f"{part}/{name} is {x[~np.isfinite(x)][0]}"
    return None


def write(folder, iteration, error, pi, then, seg, policy, rank):
    """Write the post-mortem of a `NonFiniteError`; returns where it is, in words for the error's line.

    Args:
        folder: the run's `Path`.
        pi, then: {name: array}, as `PREFIXES` has them.
        seg: this rank's segment.
        policy: `Policy.description()`.
        rank: whose it is; in the file's name where it is not 0.
    """
    path = folder / "post-mortem" / f"iteration-{iteration:08d}{f'-rank-{rank}' if rank else ''}.safetensors"
    arrays = {
        f"{prefix}{name}": np.asarray(x) for prefix, part in (("pi/", pi), ("then/", then)) for name, x in part.items()
    }
    arrays |= error.arrays | {f"segment/{name}": seg[name] for name in SEGMENT if name in seg}
    path.parent.mkdir(exist_ok=True)
    save_arrays(
        path,
        arrays,
        {
            "format": FORMAT,
            "error": str(error),
            "iteration": iteration,
            "policy": policy,
            **NO_MINIBATCH,
            **error.facts,
        },
    )
    return f"post-mortem: {path}, read as common/diagnostics/crash_dump.py says"
