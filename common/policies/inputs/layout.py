"""The arrangement of a policy's inputs in the array that its network takes.

- Without masks and memory, a row is a prepared observation, as `Policy.prepare` returns it.
- With action masks, a row holds the bytes of a record of prepared observation and mask.
- With a memory, a row holds the bytes of a sequence: the state before it, then its L steps.

A step of a sequence is one byte, 1 if an episode starts there, and the row of a policy without memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.distributions import PdType, TensorFlowOperators
from common.envs.mask_layout import ACTION_MASK, OBSERVATION
from common.policies.inputs.records import record_of, to_bytes, unpack

Outputs = tuple[tf.Tensor, tf.Tensor]  # flatparam [..., p], vpred [...]
FLOAT_BYTES = 4


@dataclass(frozen=True)
class InputLayout:
    """The arrangement of a policy's inputs.

    Attributes:
        dtype: of a prepared observation.
        shape: of a prepared observation.
        num_choices: entries of an action mask; 0 for a policy without masks.
        state_size: entries of the memory's state; 0 for a policy without memory.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    num_choices: int = 0
    state_size: int = 0

    @property
    def step_dtype(self) -> np.dtype[Any]:
        """The record of one step of a policy with masks."""
        return np.dtype([(OBSERVATION, self.dtype, self.shape), (ACTION_MASK, np.uint8, (self.num_choices,))])

    @property
    def step_bytes(self) -> int:
        """Size of one step's input in bytes."""
        return self.step_dtype.itemsize

    def steps(self, prepared: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Return the inputs of single steps.

        Args:
            prepared: [..., *shape], prepared observations.
            mask: [..., num_choices]; None for a policy without masks.

        Returns:
            `prepared` itself without masks, else rows of bytes [..., step_bytes] uint8.
        """
        if mask is None:
            return prepared
        return to_bytes(record_of(self.step_dtype, {OBSERVATION: prepared, ACTION_MASK: mask}))

    def sequences(self, steps: np.ndarray, start: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return the inputs of a policy with a memory.

        Args:
            steps: [R, L, ...] of R sequences of L steps, as `steps` returns them.
            start: [R, L] bool, whether a step is the first of its episode.
            state: [R, state_size] float32, before the first step.

        Returns:
            [R, n] uint8.
        """
        rows, length = start.shape
        by_step = np.ascontiguousarray(steps).reshape(rows, length, -1).view(np.uint8)
        with_start = np.concatenate([start[..., None].astype(np.uint8), by_step], axis=-1)
        state_bytes = np.ascontiguousarray(state, np.float32).view(np.uint8)
        return np.concatenate([state_bytes, with_start.reshape(rows, -1)], axis=1)

    def split_sequences(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return (steps [R, L, ...], start [R, L] bool, state [R, state_size]) of what `sequences` returns."""
        state_bytes = FLOAT_BYTES * self.state_size
        length = (rows.shape[1] - state_bytes) // (1 + self.step_bytes)
        state = tf.bitcast(tf.reshape(rows[:, :state_bytes], [-1, self.state_size, FLOAT_BYTES]), tf.float32)
        by_step = tf.reshape(rows[:, state_bytes:], [-1, length, 1 + self.step_bytes])
        steps = by_step[..., 1:]
        if not self.num_choices:
            steps = unpack(steps, np.dtype([(OBSERVATION, self.dtype, self.shape)]))[OBSERVATION]
        return steps, by_step[..., 0] != 0, state

    def split_steps(self, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return (prepared observations [..., *shape], masks [..., num_choices] bool or None) of `steps`' result."""
        if not self.num_choices:
            return steps, None
        fields = unpack(steps, self.step_dtype)
        return fields[OBSERVATION], fields[ACTION_MASK] != 0


class NetworkOutputs:
    """The outputs of a policy, or of its network over other variables, at given inputs.

    Attributes:
        pdtype: the kind of distribution.
    """

    pdtype: PdType

    @property
    def layout(self) -> InputLayout:
        """The arrangement of the inputs."""
        raise NotImplementedError

    def forward(self, ob: tf.Tensor) -> Outputs:
        """Compute the network at prepared observations, as `Policy.forward` does."""
        raise NotImplementedError

    def forward_sequence(
        self, ob: tf.Tensor, start: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Compute the network of a policy with a memory, as `Policy.forward_sequence` does."""
        raise NotImplementedError

    def outputs(self, x: tf.Tensor) -> Outputs:
        """Compute distribution parameters and values at inputs `x`, whose rows `InputLayout` describes.

        Returns:
            (flatparam [N, p], vpred [N]), float32; with a memory [R, L, p] and [R, L], for each step of each sequence.
            Parameters obey the action masks.
        """
        if not self.layout.state_size:
            steps, mask = self.layout.split_steps(x)
            flat, vpred = self.forward(steps)
            return self._masked(flat, mask), vpred
        flat, vpred, _ = self.outputs_and_states(x)
        return flat, vpred

    def outputs_and_states(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Compute `outputs` of a policy with a memory, and the memory's states after each step, [R, L, S] float32."""
        steps, start, state = self.layout.split_sequences(x)
        ob, mask = self.layout.split_steps(steps)
        flat, vpred, states = self.forward_sequence(ob, start, state)
        return self._masked(flat, mask), vpred, states

    def _masked(self, flat: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return flat if mask is None else self.pdtype.mask_flat(TensorFlowOperators, flat, mask)
