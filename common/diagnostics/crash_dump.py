"""The post-mortem file of a non-finite number: `post-mortem/iteration-<number>.safetensors` in the run's directory.

Rank 0 writes it, or the rank whose policy returned a non-finite action. To inspect it:

    from baselines_ppo import load_policy
    from common.diagnostics.crash_dump import ARRAY_GROUPS, FORMAT
    from common.storage.array_files import load_arrays

    path = "runs/.../post-mortem/iteration-00000012.safetensors"
    arrays, metadata = load_arrays(path, FORMAT)
    for name in ("error", "minibatch", "terms", "stepsize", "scalars"):
        print(name, metadata[name])
    for name, x in arrays.items():
        print(name, x.shape, x.dtype, x.min(), x.max())
    pi = load_policy(path)  # as it was when the iteration began; for a class of your own: its load(path)
    before_minibatch = {name.removeprefix("then/pi/"): x for name, x in arrays.items() if name.startswith("then/pi/")}
    pi.restore(before_minibatch)
    flat, vpred = pi.outputs(arrays["minibatch/x"])

`ARRAY_GROUPS` describes the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import NonFiniteError
from common.storage.array_files import save_arrays

FORMAT = "baselines_ppo.post_mortem"
# prefix of an array's name -> what the arrays are
ARRAY_GROUPS = {
    "pi/": "the policy when the iteration began",
    "start/": "Adam's moments m and v and its steps t when a compiled sweep began",
    "then/": "everything a checkpoint contains, before the minibatch; if no minibatch is named, at the end",
    "minibatch/": "the minibatch of all ranks, in rank order, as the losses read it. The array weights has the weight "
    "of each row in a mean. The array rows has indices t * K + k, continued across ranks if segments were gathered",
    "acted/": "for a non-finite action: the environment's observations and actions of the segment up to that action",
    "segment/": "rank 0's segment: observations, actions, rewards, advantages and targets as collected",
}
SEGMENT_ARRAYS = (
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
    "state",
    "start",
    "last_start",
)
NO_MINIBATCH = {"minibatch": None, "terms": None, "stepsize": None, "scalars": None}


def _by_field(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return {name: array}, with an array for each field of a record: a file holds no records."""
    if x.dtype.names is None:
        return {name: x}
    return {key: leaf for field in x.dtype.names for key, leaf in _by_field(f"{name}/{field}", x[field]).items()}


def write_crash_dump(
    run_dir: Path,
    iteration: int,
    error: NonFiniteError,
    pi: Mapping[str, np.ndarray],
    then: Mapping[str, np.ndarray],
    seg: Mapping[str, np.ndarray],
    policy: Mapping[str, Any],
    rank: int,
) -> str:
    """Write the post-mortem file of an error and return the text that refers to it in the error's message.

    Args:
        run_dir: the run's directory.
        iteration: the iteration in which the error occurred.
        error: the error, with its arrays and facts.
        pi, then: {name: array}, see `ARRAY_GROUPS`.
        seg: this rank's segment.
        policy: the policy's description, as in a policy file.
        rank: the rank that writes; part of the file's name unless it is 0.
    """
    name = f"iteration-{iteration:08d}{f'-rank-{rank}' if rank else ''}.safetensors"
    path = run_dir / "post-mortem" / name
    arrays = {f"pi/{key}": np.asarray(x) for key, x in pi.items()}
    arrays |= {f"then/{key}": np.asarray(x) for key, x in then.items()}
    arrays |= error.arrays
    arrays |= {f"segment/{key}": seg[key] for key in SEGMENT_ARRAYS if key in seg}
    arrays = {name: x for key, array in arrays.items() for name, x in _by_field(key, array).items()}
    metadata = {"format": FORMAT, "error": str(error), "iteration": iteration, "policy": policy}
    path.parent.mkdir(exist_ok=True)
    save_arrays(path, arrays, metadata | NO_MINIBATCH | error.facts)
    return f"post-mortem: {path}, described in common/diagnostics/crash_dump.py"
