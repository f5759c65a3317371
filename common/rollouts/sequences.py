"""Segments of policies with a memory: values and states along whole segments, and sequences for the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from common.compilation import Compiled
from common.errors import UserError
from common.rollouts.segment import Batch, Segment, assign_values, flatten_time_and_envs

if TYPE_CHECKING:
    from common.policies.base import Policy
    from common.policies.inputs.layout import InputLayout


class SequenceEvaluator:
    """Evaluates a policy with a memory along segments, in calls of at most two shapes.

    Args:
        pi: the policy.
        steps: most time steps of a call.
        num_envs: K.
    """

    def __init__(self, pi: Policy, steps: int, num_envs: int) -> None:
        self.pi = pi
        self.steps = steps
        self.num_envs = num_envs
        self.few = 2 * num_envs + 15  # rows of a call for single steps: last and final observations
        self._outputs = Compiled(
            pi.outputs_and_states, pi.xla, pi.shared("outputs and states", lambda network: network.outputs_and_states)
        )

    def compile(self) -> None:
        """Compile before the first segment is there."""
        ob = np.zeros((self.steps, self.num_envs, *self.pi.encoder.shape), self.pi.encoder.dtype)
        start = np.zeros(ob.shape[:2], bool)
        self.along(self.inputs(ob), start, np.zeros((self.num_envs, self.pi.state_size), np.float32))

    def inputs(self, ob: np.ndarray) -> np.ndarray:
        """Return the inputs of single steps, [T, K, ...], of encoded observations [T, K, ...]."""
        x = self.pi.inputs(flatten_time_and_envs(ob))
        return x.reshape(*ob.shape[:2], *x.shape[1:])

    def along(
        self, steps: np.ndarray, start: np.ndarray, state: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evaluate consecutive steps of all environments.

        Args:
            steps: [T, K, ...], inputs of single steps.
            start: [T, K] bool, whether the memory forgets what was before a step.
            state: [K, S], before the first step.

        Returns:
            (flatparam [T, K, p], vpred [T, K], states after each step [T, K, S]), float32.
        """
        pieces = []
        for first in range(0, len(steps), self.steps):
            part = slice(first, first + self.steps)
            pieces.append(self._call(steps[part], start[part], state, self.steps))
            state = pieces[-1][2][-1]
        flat, vpred, states = (np.concatenate(parts) for parts in zip(*pieces))
        return flat, vpred, states

    def _call(self, steps: np.ndarray, start: np.ndarray, state: np.ndarray, length: int) -> list[np.ndarray]:
        """Compute `along` for at most `length` steps, in a call of that many."""
        count = len(steps)
        order = np.minimum(np.arange(length), count - 1)  # repeats the last step; nothing after it is used
        rows = self.pi.layout.sequences(np.swapaxes(steps[order], 0, 1), start[order].T, state)
        return [np.swapaxes(x.numpy(), 0, 1)[:count] for x in self._outputs(tf.constant(rows))]

    def single_values(self, ob: np.ndarray, start: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return V [N] of encoded observations [N, ...], each with the state [N, S] before it."""
        steps = self.pi.inputs(ob)[:, None]
        rows = self.pi.layout.sequences(steps, start[:, None], state)
        values = []
        for first in range(0, len(rows), self.few):
            part = rows[first : first + self.few]
            padded = np.concatenate([part, np.zeros((self.few - len(part), rows.shape[1]), np.uint8)])
            values.append(self._outputs(tf.constant(padded))[1].numpy()[: len(part), 0])
        return np.concatenate(values)

    def add_values(self, seg: Segment) -> None:
        """Add `x`, `flatparam`, `states` and the values to a segment as `Collector` returns it."""
        seg["x"] = self.inputs(seg["ob"])
        flat, _, states = self._values(seg)
        seg["flatparam"], seg["states"] = flat, states

    def recompute_values(self, seg: Segment) -> None:
        """Replace the values of a segment by those of the current policy."""
        self._values(seg)

    def _values(self, seg: Segment) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat, vpred, states = self.along(seg["x"], seg["start"], seg["state"])
        last, num_envs = states[-1], len(states[-1])
        final = [(t, k) for t, k, _ in seg["final_obs"]]
        # an observation after a step is valued with the memory of that step
        obs = np.concatenate([seg["last_ob"], *([np.stack([ob for _, _, ob in seg["final_obs"]])] if final else [])])
        state = np.concatenate([last, *([np.stack([states[t, k] for t, k in final])] if final else [])])
        start = np.concatenate([seg["last_start"], np.zeros(len(final), bool)])
        bootstrap = self.single_values(obs, start, state)
        assert len(bootstrap) == num_envs + len(final)
        assign_values(seg, np.concatenate([vpred.reshape(-1), bootstrap]))
        return flat, vpred, states


def sequence_length(memory_steps: int, steps: int, minibatch: int | None) -> int:
    """Return the steps of a sequence of the update.

    Args:
        memory_steps: the policy's setting, an upper limit.
        steps: steps of one environment in a segment, which may be fewer.
        minibatch: samples of one rank's minibatch, which may be fewer on many ranks; None: the whole segment.
    """
    return min(memory_steps, steps, minibatch or steps)


def check_whole_sequences(name: str, samples: int, length: int) -> None:
    """Raise UserError unless a minibatch consists of whole sequences.

    Args:
        name: setting with the samples of a minibatch.
        samples: its value.
        length: steps of a sequence.
    """
    if samples % length:
        raise UserError(
            f"invalid {name}={samples}: must be a multiple of {length}, the steps of a sequence; change it or "
            "memory_steps"
        )


def sequences_of(seg: Segment, layout: InputLayout, length: int) -> tuple[Batch, np.ndarray]:
    """Divide a segment into sequences, each of one environment.

    Args:
        seg: a segment with `states` (`SequenceEvaluator.add_values`) and advantages.
        layout: of the policy's inputs.
        length: L, steps of a sequence. The last sequence of an environment repeats its last step if it has fewer.

    Returns:
        (batch of R sequences: `x` is [R, n], other arrays are [R, L, ...]; valid [R, L] bool, False for repetitions and
        for steps that are not valid).
    """
    steps = len(seg["rew"])
    count = -(-steps // length)
    order = np.minimum(np.arange(count * length), steps - 1)

    def divide(x: np.ndarray) -> np.ndarray:
        x = np.swapaxes(x[order].reshape(count, length, *x.shape[1:]), 1, 2)
        return x.reshape(-1, length, *x.shape[3:])

    before = np.concatenate([seg["state"][None], seg["states"][length - 1 : steps - 1 : length]])
    x = layout.sequences(divide(seg["x"]), divide(seg["start"]), flatten_time_and_envs(before))
    is_own = np.arange(count * length).reshape(count, 1, length) < steps
    valid = divide(seg["valid"]) & np.repeat(is_own, seg["rew"].shape[1], axis=1).reshape(-1, length)
    batch = Batch(
        x=x,
        ac=divide(seg["ac"]),
        flatparam=divide(seg["flatparam"]),
        vpred=divide(seg["vpred"]),
        atarg=divide(seg["adv"]),
        ret=divide(seg["tdlamret"]),
    )
    return batch, valid
