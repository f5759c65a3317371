"""The value function fitted apart from the policy, as TRPO and REINFORCE do."""

import numpy as np
import tensorflow as tf

from baselines_ppo.objectives import value_loss
from common.errors import UserError
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches


def split_variables(pi):
    """(policy's variables, value's own variables) of a policy: what flatparam depends on, and what V alone does."""
    variables = pi.get_trainable_variables()
    with tf.GradientTape(persistent=True) as tape:
        flat, vpred = pi.forward(tf.constant(pi.prepare(np.zeros((1, *pi.encoder.shape), pi.encoder.dtype))))
    moves_flat, moves_v = ([g is not None for g in tape.gradient(out, variables)] for out in (flat, vpred))
    return (
        [x for x, moves in zip(variables, moves_flat) if moves],
        [x for x, moves, also in zip(variables, moves_v, moves_flat) if moves and not also],
    )


def value_variables(pi):
    """The trainable variables that V alone depends on.

    Raises:
        UserError: if there is none.
    """
    variables = split_variables(pi)[1]
    if not variables:
        raise UserError(
            f"{type(pi).__name__}'s value function has no variable of its own, so it has no step size of its own (vf_stepsize), "
            "and cannot be fitted apart from the policy"
        )
    return variables


def value_lr_multipliers(pi, factor):
    """[variables] `factor` for each trainable variable that V alone depends on, 1 for the others.

    Raises:
        UserError: if V has no variable of its own.
    """
    own = {id(x) for x in value_variables(pi)}
    return [factor if id(x) in own else 1.0 for x in pi.get_trainable_variables()]


def fit_losses(pi):
    """(V(s) - V_targ)^2 of a minibatch: a function as `MinibatchOptimizer` takes it."""

    def losses(batch, weights, scalars):
        loss = tf.reduce_sum(weights * value_loss(pi.forward(batch["x"])[1], batch["ret"]))
        return loss, loss[None]

    return losses


class ValueFunctionFitter:
    """Minibatch Adam on (V(s) - V_targ)^2 over all ranks.

    Args:
        learner: the `AlgorithmSetup`.
        stepsize: Adam's.
        iters: passes over a segment.
        batch_size: rows of a minibatch of one rank.

    Attributes:
        adam: the `MpiAdam`.

    Raises:
        UserError: if V has no variable of its own.
    """

    def __init__(self, learner, stepsize, iters, batch_size):
        pi, self.comm = learner.pi, learner.comm
        self.stepsize, self.iters, self.batch_size = stepsize, iters, batch_size
        self.adam = MpiAdam(value_variables(pi), epsilon=1e-5, comm=self.comm)
        strategy = learner.strategy("value", self.adam.size, batch_size)

        self.descent = MinibatchOptimizer(
            fit_losses(pi),
            ("loss_vf_loss",),
            self.adam,
            None,
            pi.xla,
            strategy,
            pi.num_microbatches,
            pi.shared("value fit", fit_losses),
        )

    def room(self, rows):
        """Minibatches that `rows` rows can make, at the most."""
        return self.iters * (rows // self.batch_size)

    def compile(self, batch):
        """Compile ahead for a batch of this shape; nothing moves."""
        batch = {name: batch[name] for name in ("x", "ret")}
        self.descent.compile_sweep(batch, self.batch_size, [], self.room(len(batch["x"])))

    def __call__(self, batch, valid, rng):
        """Fit V to `batch`'s "ret" [N] at "x" [N, ...], the rows that `valid` [N] says; N is the same on all ranks. Returns the mean loss
        of the last pass, each minibatch before its step."""
        count = self.comm.minimum(minibatches_per_epoch(valid, self.batch_size))
        indices, weights = shuffle_into_minibatches(rng, valid, self.batch_size, self.iters, count)
        terms = self.descent.sweep(
            {name: batch[name] for name in ("x", "ret")},
            indices,
            weights,
            self.stepsize,
            [],
            self.room(len(valid)),
            count,
        )
        return float(terms[-count:].mean())
