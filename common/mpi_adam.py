"""Adam on flat parameters, with gradients averaged over MPI ranks."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from common.diagnostics.replica_check import check_synced
from common.distributed import communicator
from common.distributed.communicator import Communicator


def adam_step(
    params: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    t: tf.Tensor,
    grad: tf.Tensor,
    stepsize: tf.Tensor | float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One step of Adam in the form at the end of section 2 of Kingma and Ba 2015, which Baselines uses too.

    Args:
        params, m, v: [P] float32: parameters, first and second moments.
        t: number of this step, from 1.
        grad: [P], gradient of the loss.
        stepsize: alpha, a scalar or [P].
        beta1, beta2: decay rates of the moments.
        epsilon: added to the root of v, which is not bias-corrected.

    Returns:
        The new (params, m, v).
    """
    t = tf.cast(t, tf.float32)
    alpha = stepsize * tf.sqrt(1 - beta2**t) / (1 - beta1**t)
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * tf.square(grad)
    return params - alpha * m / (tf.sqrt(v) + epsilon), m, v


def get_flat(variables: Iterable[tf.Variable]) -> tf.Tensor:
    """Concatenate variables into one tensor [P]."""
    return tf.concat([tf.reshape(v, [-1]) for v in variables], axis=0)


def set_from_flat(variables: Sequence[tf.Variable], flat: tf.Tensor) -> None:
    """Assign a tensor [P] to variables: the inverse of `get_flat`."""
    values = tf.split(flat, [v.shape.num_elements() for v in variables])
    for v, value in zip(variables, values):
        v.assign(tf.reshape(value, v.shape))


def clip_by_norm(grad: tf.Tensor, max_norm: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale `grad` [P] down to norm `max_norm` if its norm is larger; returns (gradient, original norm)."""
    norm = tf.norm(grad)
    return grad * tf.minimum(1.0, max_norm / tf.maximum(norm, 1e-12)), norm


class MpiAdam:
    """Adam over a list of variables that are equal on all ranks.

    Args:
        var_list: trainable variables, in the same order on all ranks.
        beta1, beta2: decay rates of the moments.
        epsilon: Baselines uses 1e-5 for PPO.
        lr_multipliers: one factor of the step size for each variable; None: all 1.
        comm: the ranks to average over; None: all of the job.

    Attributes:
        m, v: [P] float32 variables, the moments.
        slots: {"m": m, "v": v}.
        t: int64 variable, number of steps made.
        size: P.
    """

    def __init__(
        self,
        var_list: Iterable[tf.Variable],
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        lr_multipliers: Sequence[float] | None = None,
        comm: Communicator | None = None,
    ):
        self.var_list = list(var_list)
        self.comm = comm or communicator.world()
        self.size = sum(v.shape.num_elements() for v in self.var_list)
        self.slots = {x: tf.Variable(tf.zeros([self.size]), trainable=False, name=f"MpiAdam/{x}") for x in ("m", "v")}
        self.t = tf.Variable(0, dtype=tf.int64, trainable=False, name="MpiAdam/t")
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lr_multipliers = None
        if lr_multipliers is not None:
            sizes = [v.shape.num_elements() for v in self.var_list]
            self.lr_multipliers = np.repeat(np.asarray(lr_multipliers, np.float32), sizes)
        self._compiled_apply = tf.function(self.apply, autograph=False)

    @property
    def m(self) -> tf.Variable:
        """First moments, [P]."""
        return self.slots["m"]

    @property
    def v(self) -> tf.Variable:
        """Second moments, [P]."""
        return self.slots["v"]

    @property
    def hyperparameters(self) -> Hashable:
        """Return beta1, beta2, epsilon and the multipliers of the step size, as constants of compiled functions."""
        lr_multipliers = None if self.lr_multipliers is None else tuple(self.lr_multipliers.tolist())
        return self.beta1, self.beta2, self.epsilon, lr_multipliers

    def step(self, flat: tf.Tensor, grad: tf.Tensor, stepsize: tf.Tensor | float) -> tuple[tf.Tensor, ...]:
        """Compute one step of Adam, without changing any variable.

        Args:
            flat: [P] parameters.
            grad: [P] gradient, averaged over ranks.
            stepsize: learning rate, before `lr_multipliers`.

        Returns:
            (parameters, first moments, second moments) after the step, [P] each.
        """
        if self.lr_multipliers is not None:
            stepsize = stepsize * self.lr_multipliers
        return adam_step(flat, self.m, self.v, self.t + 1, grad, stepsize, self.beta1, self.beta2, self.epsilon)

    def apply(self, grad: tf.Tensor, stepsize: tf.Tensor | float, apply_update: tf.Tensor | bool = True) -> None:
        """Make one step with a gradient [P] that is already averaged over ranks; may be called in a compiled function.

        Args:
            grad: [P].
            stepsize: scalar.
            apply_update: False, which may be a tensor, changes nothing.
        """
        flat = get_flat(self.var_list)
        new = self.step(flat, grad, stepsize)
        old = (flat, *(x.read_value() for x in self.slots.values()))
        flat, *slots = (tf.where(apply_update, x, before) for x, before in zip(new, old))
        for x, value in zip(self.slots.values(), slots):
            x.assign(value)
        self.t.assign_add(tf.cast(apply_update, tf.int64))
        set_from_flat(self.var_list, flat)

    def update(self, localg: np.ndarray, stepsize: float) -> None:
        """Average the ranks' gradients [P] and make one step; Baselines' call."""
        mean = self.comm.mean(np.asarray(localg, np.float32))
        self._compiled_apply(tf.constant(mean), tf.constant(stepsize, tf.float32))

    def sync(self) -> None:
        """Broadcast rank 0's parameters and slots to all ranks; Baselines' call."""
        if self.comm.size == 1:
            return
        synced = (*self.var_list, *self.slots.values())
        buffer = np.concatenate([np.ravel(x.numpy()) for x in synced])
        self.comm.broadcast_array(buffer)
        for x in synced:
            count = x.shape.num_elements()
            x.assign(buffer[:count].reshape(x.shape))
            buffer = buffer[count:]
        self.t.assign(self.comm.broadcast(int(self.t.numpy())))

    def state_variables(self) -> list[tf.Variable]:
        """Everything that a step reads besides the parameters: the moments and t."""
        return [*self.slots.values(), self.t]

    def over(self, var_list: list[tf.Variable], state_variables: Sequence[tf.Variable]) -> Self:
        """This optimiser over other variables of the same shapes, such as the arguments of a compiled function.

        Args:
            var_list: instead of this optimiser's.
            state_variables: instead of `state_variables()`.
        """
        other = copy.copy(self)
        *moments, other.t = state_variables
        other.var_list = var_list
        other.slots = dict(zip(self.slots, moments, strict=True))
        return other

    def flat_state(self) -> tf.Tensor:
        """Parameters and slots as one tensor [(1 + number of slots) P]."""
        return tf.concat([get_flat(self.var_list), *self.slots.values()], axis=0)

    def set_flat_state(self, flat: tf.Tensor, t: tf.Tensor) -> None:
        """Assign what `flat_state` returned, and the number of steps made."""
        params, *slots = tf.split(flat, 1 + len(self.slots))
        set_from_flat(self.var_list, params)
        for x, value in zip(self.slots.values(), slots):
            x.assign(value)
        self.t.assign(t)

    def slots_of(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """{name: [P]} of the slots in what `flat_state` returned."""
        return dict(zip(self.slots, np.split(flat, 1 + len(self.slots))[1:]))

    def largest_parameter(self) -> float:
        """Largest absolute value of the parameters."""
        return float(np.abs(get_flat(self.var_list).numpy()).max())

    def check_synced(self) -> None:
        """Raise ReplicaDivergenceError unless all ranks have the same parameters and slots; Baselines' call."""
        variables = (*self.var_list, *self.slots.values(), self.t)
        # numbered, because several variables may have the same name
        check_synced(self.comm, lambda: {f"{x.name} (number {i})": x.numpy() for i, x in enumerate(variables)})

    def state(self) -> dict[str, np.ndarray]:
        """Slots and step count by name, for a checkpoint."""
        return {name: x.numpy() for name, x in self.slots.items()} | {"t": self.t.numpy().reshape(1)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        for name, x in self.slots.items():
            x.assign(state[name])
        self.t.assign(state["t"][0])
