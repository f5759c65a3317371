"""Fits the value function separately from the policy, as TRPO and REINFORCE do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from baselines_ppo.objectives import value_loss
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.errors import UserError
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatch_step import Losses, Tensors
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches
from common.policies.base import Policy
from common.rollouts.segment import Batch

if TYPE_CHECKING:
    from baselines_ppo.algorithm_setup import AlgorithmSetup
    from baselines_ppo.config.settings import PPOSettings


def split_variables(pi: Policy) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """(variables that flatparam depends on, variables that only V depends on) of a policy's trainable variables."""
    variables = pi.get_trainable_variables()
    x = pi.inputs(np.zeros((1, *pi.encoder.shape), pi.encoder.dtype))
    if pi.recurrent:  # a sequence of one step
        x = pi.layout.sequences(x[:, None], np.zeros((1, 1), bool), np.zeros((1, pi.state_size), np.float32))
    with tf.GradientTape(persistent=True) as tape:
        flat, vpred = pi.outputs(tf.constant(x))
    in_flat, in_vpred = ([g is not None for g in tape.gradient(out, variables)] for out in (flat, vpred))
    return (
        [x for x, used in zip(variables, in_flat) if used],
        [x for x, used, also_in_flat in zip(variables, in_vpred, in_flat) if used and not also_in_flat],
    )


def value_variables(pi: Policy) -> list[tf.Variable]:
    """The trainable variables that only V depends on.

    Raises:
        UserError: if there are none.
    """
    variables = split_variables(pi)[1]
    if not variables:
        raise UserError(
            f"{type(pi).__name__}'s value function shares all its variables with the policy, so it cannot have its own "
            "step size (vf_stepsize) or be fitted separately; use a separate layer for it"
        )
    return variables


def value_lr_multipliers(pi: Policy, multiplier: float) -> list[float]:
    """For each trainable variable, `multiplier` if only V depends on it, else 1.

    Raises:
        UserError: if there is no such variable.
    """
    own = {id(x) for x in value_variables(pi)}
    return [multiplier if id(x) in own else 1.0 for x in pi.get_trainable_variables()]


def make_value_fit(setup: AlgorithmSetup[PPOSettings]) -> ValueFunctionFitter | None:
    """PPO's `ValueFunctionFitter`; None if the value function is updated together with the policy."""
    s = setup.settings
    if not s.vf_iters:
        return None
    stepsize = s.optim_stepsize if s.vf_stepsize is None else s.vf_stepsize
    return ValueFunctionFitter(setup, stepsize, s.vf_iters, s.optim_batchsize or s.timesteps_per_actorbatch)


def fit_losses(pi: Policy) -> Losses:
    """The mean of (V(s) - V_targ)^2 over a minibatch, as a function for `MinibatchOptimizer`."""

    def losses(batch: Tensors, weights: tf.Tensor, scalars: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss = tf.reduce_sum(weights * value_loss(pi.outputs(batch["x"])[1], batch["ret"]))
        return loss, loss[None]

    return losses


class ValueFunctionFitter:
    """Minimises (V(s) - V_targ)^2 by minibatch Adam over all ranks.

    Args:
        setup: the `AlgorithmSetup`.
        stepsize: Adam's step size.
        iters: epochs per segment.
        batch_size: samples of one rank's minibatch.

    Attributes:
        adam: the `MpiAdam`.

    Raises:
        UserError: if V shares all its variables with the policy.
    """

    def __init__(self, setup: AlgorithmSetup[Any], stepsize: float, iters: int, batch_size: int):
        pi = setup.pi
        self.comm = setup.comm
        self.stepsize = stepsize
        self.iters = iters
        self.steps = setup.processor.steps
        self.batch_size = setup.processor.rows("the minibatch of the value function", batch_size)
        self.adam = MpiAdam(value_variables(pi), epsilon=1e-5, comm=self.comm)
        self.optimizer = MinibatchOptimizer(
            fit_losses(pi),
            ("loss_vf_loss",),
            self.adam,
            xla=pi.xla,
            averaging=setup.choose_averaging("value", self.adam.size, batch_size),
            num_microbatches=pi.num_microbatches,
            shared=pi.shared("value fit", fit_losses),
        )

    def max_minibatches(self, samples: int) -> int:
        """Upper bound of the number of minibatches of all epochs over `samples` rows."""
        return self.iters * (samples // self.batch_size)

    def compile(self, batch: Batch) -> None:
        """Compile for batches with the shapes of `batch`; no parameter changes."""
        arrays = {"x": batch.x, "ret": batch.ret}
        self.optimizer.compile_minibatches(arrays, self.batch_size, [], self.max_minibatches(len(batch.x)), self.steps)

    def __call__(self, batch: Batch, valid: np.ndarray, rng: np.random.Generator) -> float:
        """Fit V to `batch.ret` at `batch.x`. Collective.

        Args:
            batch: N rows, with the same N on all ranks.
            valid: [N] bool, or [N, L] with a memory, the samples to use.
            rng: shuffles the minibatches.

        Returns:
            The mean loss of the last epoch, of each minibatch before its step.
        """
        count = int(self.comm.minimum(minibatches_per_epoch(valid, self.batch_size)))
        indices, weights = shuffle_into_minibatches(rng, valid, self.batch_size, self.iters, count)
        terms = self.optimizer.run_minibatches(
            {"x": batch.x, "ret": batch.ret},
            indices,
            weights,
            self.stepsize,
            [],
            self.max_minibatches(len(valid)),
            MinibatchLabel(count),
        )
        return float(terms[-count:].mean())
