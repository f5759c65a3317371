"""What the policy that acted says of its segment: one compiled call, from which old logp, KL and advantages come.

The acting copy's numbers are not used: NumPy and TensorFlow differ by 3e-6 in a mean, which at a log std of -5 is 1e-3 in the ratio.
"""

import numpy as np
import tensorflow as tf

from common.compilation import Compiled, Shared
from common.policies.networks import NumpyOperators
from common.rollouts.collector import assign_values

MAX_BLOCK = 4096  # rows a call; more would only cost memory


def assign_second_half(variables):
    """Gives the first half of a list of variables the values of the second."""
    half = len(variables) // 2
    for old, new in zip(variables[:half], variables[half:]):
        old.assign(new)


class SegmentProcessor:
    """Puts `x` (prepared observations), `flatparam`, `vpred` and the values that GAE bootstraps from into a segment, and oldpi <- pi.

    Args:
        pi, oldpi: policies; oldpi may be None.
        rows: T * K, rows of a segment.
        num_envs: K.
    """

    def __init__(self, pi, oldpi, rows, num_envs):
        self.pi, self.oldpi, self.rows = pi, oldpi, rows
        # every call has one shape, so that it is compiled once: the segment, the K last observations, and room for a few final ones
        self.block = min(rows + num_envs + max(num_envs, 15), MAX_BLOCK)
        self.small_block = min(
            self.block, 2 * num_envs + 15
        )  # where the actor kept its outputs, there are the last observations alone
        self._outputs = Compiled(pi.forward, pi.xla, pi.shared("forward", lambda network: network.forward))
        variables = [] if oldpi is None else [*oldpi.get_variables(), *pi.get_variables()]
        self._copy = Compiled(
            assign_second_half,
            shared=Shared("copy", variables, lambda variables: lambda: assign_second_half(variables)),
        )

    def sync_oldpi(self):
        """oldpi <- pi: variables and observation filter."""
        self._copy()
        if self.pi.ob_rms is not None:
            self.oldpi.ob_rms.restore(self.pi.ob_rms.state())

    def dummy_batch(self):
        """A batch as `batch` makes it of a whole segment: zeros, and actions of the action space, whose logp can be computed."""
        x, pdtype = self.pi.prepare(np.zeros((1, *self.pi.encoder.shape), self.pi.encoder.dtype)), self.pi.pdtype
        flat = np.zeros((1, *pdtype.param_shape()), np.float32)
        ac = np.asarray(pdtype.mode(NumpyOperators, flat), pdtype.sample_dtype().as_numpy_dtype)
        one = {"x": x, "ac": ac, "flatparam": flat} | {
            name: np.zeros(1, np.float32) for name in ("vpred", "atarg", "ret")
        }
        return {name: np.repeat(value, self.rows, axis=0) for name, value in one.items()}

    @staticmethod
    def batch(seg):
        """What losses read of a segment that has been evaluated and has its advantages: {name: [N, ...]}, N = T * K."""
        rows = seg["rew"].size
        return {
            "x": seg["x"],
            "ac": seg["ac"].reshape(rows, *seg["ac"].shape[2:]),
            "flatparam": seg["flatparam"],
            "vpred": seg["vpred"].reshape(-1),
            "atarg": seg["adv"].reshape(-1),
            "ret": seg["tdlamret"].reshape(-1),
        }

    def compile(self):
        """Compile ahead of the first segment."""
        self.outputs(self.dummy_batch()["x"][: self.block])

    def outputs(self, x):
        """(flatparam [N, p], vpred [N]) NumPy at prepared observations [N, ...], in calls of one shape, or two."""
        flats, vpreds = [], []
        block = self.small_block if len(x) <= self.small_block else self.block
        for start in range(0, len(x), block):
            part = x[start : start + block]
            padded = np.concatenate([part, np.zeros((block - len(part), *part.shape[1:]), part.dtype)])
            flat, vpred = self._outputs(tf.constant(padded))
            flats.append(flat.numpy()[: len(part)])
            vpreds.append(vpred.numpy()[: len(part)])
        return np.concatenate(flats), np.concatenate(vpreds)

    def __call__(self, seg):
        """Before the first epoch: oldpi <- pi, and everything of the segment that depends on the policy that acted."""
        self.sync_oldpi()
        final = [np.stack([ob for _, _, ob in seg["final_obs"]])] if seg["final_obs"] else []
        encoded = np.concatenate([seg["ob"].reshape(seg["rew"].size, *seg["ob"].shape[2:]), seg["last_ob"], *final])
        seg["all_x"] = self.pi.prepare(encoded)
        rows = seg["rew"].size
        seg["x"] = seg["all_x"][:rows]
        if "flatparam" in seg:
            seg["flatparam"] = seg["flatparam"].reshape(rows, -1)
            assign_values(seg, np.concatenate([seg["vpred"].reshape(-1), self.outputs(seg["all_x"][rows:])[1]]))
        else:
            flat, vpred = self.outputs(seg["all_x"])
            seg["flatparam"] = flat[:rows]
            assign_values(seg, vpred)

    def recompute_values(self, seg):
        """V of the segment as the value function now stands, for advantages that are recomputed between epochs."""
        assign_values(seg, self.outputs(seg["all_x"])[1])
