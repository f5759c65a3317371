"""Adam on flat parameters, with gradients averaged over ranks."""

import copy

import numpy as np
import tensorflow as tf

from common.diagnostics.replica_check import check_synced
from common.distributed import communicator


def adam_step(params, m, v, t, grad, stepsize, beta1, beta2, epsilon):
    """One step of Adam, as Kingma and Ba 2015 write it at the end of their section 2 (and Baselines, with its `epsilon` outside the root).

    Args:
        params, m, v, grad: [P] float32: parameters, first and second moments, gradient of what is minimised.
        t: this step's number, from 1.
        stepsize: alpha, or [P], each parameter's own.

    Returns:
        The new (params, m, v).
    """
    t = tf.cast(t, tf.float32)
    alpha = stepsize * tf.sqrt(1 - beta2**t) / (1 - beta1**t)
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * tf.square(grad)
    return params - alpha * m / (tf.sqrt(v) + epsilon), m, v


def get_flat(variables):
    """All variables, one after the other, as one tensor [P]."""
    return tf.concat([tf.reshape(v, [-1]) for v in variables], axis=0)


def set_from_flat(variables, flat):
    """The inverse of `get_flat`."""
    parts = tf.split(flat, [v.shape.num_elements() for v in variables])
    for v, part in zip(variables, parts):
        v.assign(tf.reshape(part, v.shape))


def clip_by_norm(grad, max_norm):
    """`grad` [P], scaled down to length `max_norm` if it is longer. Also returns its length."""
    norm = tf.norm(grad)
    return grad * tf.minimum(1.0, max_norm / tf.maximum(norm, 1e-12)), norm


class MpiAdam:
    """Adam over a list of variables, the same on all ranks.

    Args:
        var_list: trainable variables, in the same order on all ranks.
        beta1, beta2, epsilon: Adam's; Baselines' epsilon for PPO is 1e-5.
        factors: one number for each variable, which multiplies its steps; None: all 1.
        comm: the ranks to average over; all of the job if None.

    Attributes:
        m, v: [P] float32 variables, the moments.
        t: int64 variable, steps made.
    """

    def __init__(self, var_list, *, beta1=0.9, beta2=0.999, epsilon=1e-8, factors=None, comm=None):
        self.var_list, self.comm = list(var_list), comm or communicator.world()
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.size = sum(v.shape.num_elements() for v in self.var_list)
        self.factors = (
            None if factors is None else np.repeat(np.float32(factors), [v.shape.num_elements() for v in self.var_list])
        )
        self.m, self.v = (tf.Variable(tf.zeros([self.size]), trainable=False, name=f"adam/{name}") for name in "mv")
        self.t = tf.Variable(0, dtype=tf.int64, trainable=False, name="adam/t")
        self._compiled_apply = tf.function(self.apply, autograph=False)

    def over(self, var_list, m, v, t):
        """This Adam over other variables of the same shapes: the arguments of a compiled function."""
        other = copy.copy(self)
        other.var_list, other.m, other.v, other.t = var_list, m, v, t
        return other

    def apply(self, grad, stepsize, enabled=True):
        """One step with a gradient [P] that is already the mean over ranks. May stand inside a compiled function; does nothing
        where `enabled`, which may be a tensor, is False."""
        flat = get_flat(self.var_list)
        if self.factors is not None:
            stepsize = stepsize * self.factors
        new = adam_step(flat, self.m, self.v, self.t + 1, grad, stepsize, self.beta1, self.beta2, self.epsilon)
        flat, m, v = (
            tf.where(enabled, x, old) for x, old in zip(new, (flat, self.m.read_value(), self.v.read_value()))
        )
        self.m.assign(m)
        self.v.assign(v)
        self.t.assign_add(tf.cast(enabled, tf.int64))
        set_from_flat(self.var_list, flat)

    def update(self, localg, stepsize):
        """Average the ranks' gradients [P] float32 and make one step: Baselines' call."""
        self._compiled_apply(
            tf.constant(self.comm.mean(np.asarray(localg, np.float32))), tf.constant(stepsize, tf.float32)
        )

    def sync(self):
        """Give all ranks rank 0's parameters and moments."""
        if self.comm.size == 1:
            return
        buffer = np.concatenate([np.ravel(x.numpy()) for x in (*self.var_list, self.m, self.v)])
        self.comm.broadcast_array(buffer)
        for x in (*self.var_list, self.m, self.v):
            count = x.shape.num_elements()
            x.assign(buffer[:count].reshape(x.shape))
            buffer = buffer[count:]
        self.t.assign(self.comm.broadcast(int(self.t.numpy())))

    def flat_state(self):
        """Parameters and moments as one tensor [3 P]."""
        return tf.concat([get_flat(self.var_list), self.m, self.v], axis=0)

    def set_flat_state(self, flat, t):
        """The inverse of `flat_state`; `t` is the number of steps made."""
        params, m, v = tf.split(flat, 3)
        set_from_flat(self.var_list, params)
        self.m.assign(m)
        self.v.assign(v)
        self.t.assign(t)

    def check_synced(self):
        """Raises RanksDrifted, naming the ranks, unless all hold the same parameters and moments: Baselines' call."""
        own = (*self.var_list, self.m, self.v, self.t)
        check_synced(
            self.comm, lambda: {f"{x.name} (number {i})": x.numpy() for i, x in enumerate(own)}
        )  # names may come twice

    def state(self):
        """Moments and step count by name, for a checkpoint."""
        return {"m": self.m.numpy(), "v": self.v.numpy(), "t": self.t.numpy().reshape(1)}

    def restore(self, state):
        """Take over what `state` gave."""
        self.m.assign(state["m"])
        self.v.assign(state["v"])
        self.t.assign(state["t"][0])
