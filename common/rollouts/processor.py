"""Evaluates the policy that acted on its segment in one compiled call, for old log probabilities, KL and advantages.

The numbers of the NumPy actor are not used, because NumPy and TensorFlow differ by up to 3e-6 in a mean. At a log
standard deviation of -5 this changes the probability ratio by 1e-3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from common.compilation import Compiled, Shared
from common.distributions import NumpyOperators
from common.rollouts.segment import (
    Batch,
    Segment,
    assign_values,
    bootstrap_observations,
    flatten_time_and_envs,
    network_inputs,
)
from common.rollouts.sequences import SequenceEvaluator, check_whole_sequences, sequence_length, sequences_of

if TYPE_CHECKING:
    from common.policies.base import Policy

MAX_BLOCK = 4096  # observations per compiled call; larger calls need more memory and are not faster


def assign_second_half(variables: list[tf.Variable]) -> None:
    """Assign the second half of a list of variables to the first half."""
    half = len(variables) // 2
    for old, new in zip(variables[:half], variables[half:]):
        old.assign(new)


class SegmentProcessor:
    """Copies pi to oldpi, and adds `x`, `flatparam`, `vpred` and the bootstrap values to a segment.

    Args:
        pi: the policy.
        oldpi: its copy, which `sync_oldpi` updates; None if only `outputs` is used.
        samples: T * K of a segment.
        num_envs: K.
        minibatch: samples of a minibatch of this rank, for a policy with a memory (`sequence_length`); None: all.

    Attributes:
        sequences: evaluates a policy with a memory; None without.
        steps: (L,), the shape of a row of a batch, if it is a sequence of L steps; () without a memory.
    """

    def __init__(self, pi: Policy, oldpi: Policy | None, samples: int, num_envs: int, minibatch: int | None = None):
        self.pi = pi
        self.oldpi = oldpi
        self.samples = samples
        self.num_envs = num_envs
        # Calls have one of two shapes, so that each is compiled once. The large one holds a segment, its K last
        # observations and a few final ones. The small one is for the last and final observations only, if the actor
        # recorded its outputs.
        self.block = min(samples + num_envs + max(num_envs, 15), MAX_BLOCK)
        self.small_block = min(self.block, 2 * num_envs + 15)
        steps = min(samples // num_envs, max(1, MAX_BLOCK // num_envs))
        self.sequences = SequenceEvaluator(pi, steps, num_envs) if pi.recurrent else None
        self.steps = (sequence_length(pi.memory_steps, samples // num_envs, minibatch),) if pi.recurrent else ()
        self._outputs = Compiled(pi.outputs, pi.xla, pi.shared("outputs", lambda network: network.outputs))
        variables = [] if oldpi is None else [*oldpi.get_variables(), *pi.get_variables()]
        self._copy = Compiled(
            assign_second_half,
            shared=Shared("copy", variables, lambda variables: lambda: assign_second_half(variables)),
        )

    def sync_oldpi(self) -> None:
        """oldpi <- pi: variables and observation filter."""
        self._copy()
        if self.pi.ob_rms is not None:
            self.oldpi.ob_rms.restore(self.pi.ob_rms.state())

    def make_batch(self, seg: Segment) -> tuple[Batch, np.ndarray]:
        """Return what the losses read of a processed segment with advantages, and which of it is valid.

        Returns:
            (batch of N samples, valid [N] bool); with a memory (batch of R sequences, valid [R, L] bool).
        """
        if self.steps:
            return sequences_of(seg, self.pi.layout, *self.steps)
        return Batch.from_segment(seg), seg["valid"].reshape(-1)

    def rows(self, name: str, samples: int) -> int:
        """Return how many rows of a batch hold a number of samples.

        Raises:
            UserError: if they do not form whole sequences; `name` is the setting with the number.
        """
        (length,) = self.steps or (1,)
        check_whole_sequences(name, samples, length)
        return samples // length

    def dummy_batch(self) -> Batch:
        """A batch with the shapes of a segment's: zeros, and actions whose log probability can be computed."""
        pdtype = self.pi.pdtype
        if self.sequences is not None:
            return self._dummy_sequences()
        flat = np.zeros((1, *pdtype.param_shape()), np.float32)
        batch = Batch(
            x=self.pi.inputs(np.zeros((1, *self.pi.encoder.shape), self.pi.encoder.dtype)),
            ac=np.asarray(pdtype.mode(NumpyOperators, flat), pdtype.sample_dtype().as_numpy_dtype),
            flatparam=flat,
            vpred=np.zeros(1, np.float32),
            atarg=np.zeros(1, np.float32),
            ret=np.zeros(1, np.float32),
        )
        return batch.map(lambda x: np.repeat(x, self.samples, axis=0))

    def _dummy_sequences(self) -> Batch:
        """`dummy_batch` of a policy with a memory."""
        pi, num_envs = self.pi, self.num_envs
        flat = np.zeros((self.samples // num_envs, num_envs, *pi.pdtype.param_shape()), np.float32)
        zeros = np.zeros(flat.shape[:2], np.float32)
        states = np.zeros((*zeros.shape, pi.state_size), np.float32)
        seg: Segment = {"rew": zeros, "vpred": zeros, "adv": zeros, "tdlamret": zeros, "flatparam": flat}
        seg |= {"states": states, "state": states[0], "start": zeros != 0, "valid": zeros == 0}
        ac = np.asarray(pi.pdtype.mode(NumpyOperators, flat.reshape(self.samples, -1)))
        seg["ac"] = ac.reshape(*zeros.shape, *ac.shape[1:]).astype(pi.pdtype.sample_dtype().as_numpy_dtype)
        seg["x"] = self.sequences.inputs(np.zeros((*zeros.shape, *pi.encoder.shape), pi.encoder.dtype))
        return self.make_batch(seg)[0]

    def compile(self) -> None:
        """Compile before the first segment is there."""
        if self.sequences is not None:
            self.sequences.compile()
            return
        self.outputs(self.dummy_batch().x[: self.block])

    def outputs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(flatparam [N, p], vpred [N]) at prepared observations [N, ...], in padded calls of at most two shapes."""
        flats, vpreds = [], []
        block = self.small_block if len(x) <= self.small_block else self.block
        for start in range(0, len(x), block):
            chunk = x[start : start + block]
            padded = np.concatenate([chunk, np.zeros((block - len(chunk), *chunk.shape[1:]), chunk.dtype)])
            flat, vpred = self._outputs(tf.constant(padded))
            flats.append(flat.numpy()[: len(chunk)])
            vpreds.append(vpred.numpy()[: len(chunk)])
        return np.concatenate(flats), np.concatenate(vpreds)

    def __call__(self, seg: Segment) -> None:
        """Process a segment before the first epoch: sync oldpi, then add all that depends on the policy that acted.

        If the actor recorded its outputs (`flatparam` and `vpred` are there), only bootstrap values are computed.
        """
        self.sync_oldpi()
        if self.sequences is not None:
            self.sequences.add_values(seg)
            return
        steps, num_envs = seg["rew"].shape
        samples = steps * num_envs
        all_x = self.pi.inputs(np.concatenate([flatten_time_and_envs(seg["ob"]), *bootstrap_observations(seg)]))
        seg["x"] = all_x[:samples].reshape(steps, num_envs, *all_x.shape[1:])
        seg["bootstrap_x"] = all_x[samples:]
        if "flatparam" in seg:
            vpred = np.concatenate([seg["vpred"].reshape(-1), self.outputs(seg["bootstrap_x"])[1]])
        else:
            flat, vpred = self.outputs(all_x)
            seg["flatparam"] = flat[:samples].reshape(steps, num_envs, -1)
        assign_values(seg, vpred)

    def recompute_values(self, seg: Segment) -> None:
        """Evaluate the current value function on the segment, for advantages that are recomputed between epochs."""
        if self.sequences is not None:
            self.sequences.recompute_values(seg)
            return
        assign_values(seg, self.outputs(network_inputs(seg))[1])
