"""Behaviour cloning: maximises log pi(a|s) over demonstrations, then fits V to their discounted returns.

It runs on rank 0 alone, which hands the result to the other ranks: the weights do not depend on the number of ranks.
The policy's variables and those of V alone are optimised one after the other, so that no coefficient balances the two
losses. The policy's epochs end early if the validation steps no longer improve.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.cloning.actions import check_masks, mode_scores, stored_actions
from baselines_ppo.cloning.fitting import fit
from baselines_ppo.cloning.returns import discounted_returns, scaled_rewards
from baselines_ppo.value_fit import fit_losses, split_variables
from common import seeding
from common.demonstrations.data import Demonstrations
from common.distributed.communicator import Communicator
from common.distributions import NumpyOperators, PdType
from common.errors import NonFiniteError, UserError
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatch_step import Arrays, Losses, Tensors
from common.policies.base import Policy
from common.rollouts.advantages import explained_variance
from common.rollouts.processor import SegmentProcessor
from common.rollouts.return_scaling import RewardNormalizer

LOGGER = "baselines_ppo.cloning"
log = logging.getLogger(LOGGER)
BATCH_SIZE = 64
LOG_LIKELIHOOD = "log-likelihood"
VALIDATION_FRACTION = 0.1
EVALUATION_BLOCK = 1024  # steps per compiled call


@dataclass(frozen=True)
class CloningSettings:
    """How to clone.

    Attributes:
        epochs: at most, of the policy and of the value function each.
        stepsize: Adam's learning rate.
        gamma: discount of the returns.
        bootstrap_time_limits: the return of a truncated episode continues (`discounted_returns`).
        fits_value: whether the training uses the value function.
        seed: of the run.
    """

    epochs: int
    stepsize: float
    gamma: float
    bootstrap_time_limits: bool
    fits_value: bool
    seed: int


def check_demonstrations(data: Demonstrations, pi: Policy) -> None:
    """Raise UserError unless the policy can be cloned from demonstrations; nothing is changed."""
    if pi.recurrent:
        raise UserError(
            f"{type(pi).__name__} has a memory, and demonstrations train on single steps, which have no state of it; "
            "leave demonstrations out, or choose a policy without memory"
        )
    data.observations(pi.ob_space)
    data.actions(pi.ac_space)
    check_masks(pi, data)


def encoded_observations(pi: Policy, data: Demonstrations) -> np.ndarray:
    """Return the observations [N, ...] as the policy's encoder encodes them."""
    batched_space = gym.vector.utils.batch_space(pi.ob_space, data.steps)
    return pi.encoder.encode_batch(data.observations(pi.ob_space), batched_space)


def with_fixed_std(pdtype: PdType, flat: tf.Tensor) -> tf.Tensor:
    """Return the parameters [N, p] of which a Gaussian's log standard deviations are constants for the gradient.

    Demonstrations without noise would drive them to minus infinity, and the training needs noise to explore.
    """
    indices = pdtype.logstd_indices()
    if not len(indices):
        return flat
    is_logstd = np.isin(np.arange(pdtype.param_shape()[0]), indices)
    return tf.where(is_logstd, tf.stop_gradient(flat), flat)


def cloning_losses(pi: Policy) -> Losses:
    """The mean of -log pi(a|s) over a minibatch, as a function for `MinibatchOptimizer`."""

    def losses(batch: Tensors, weights: tf.Tensor, scalars: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        flat = with_fixed_std(pi.pdtype, pi.outputs(batch["x"])[0])
        loss = tf.reduce_sum(weights * pi.pdtype.pdfromflat(flat).neglogp(batch["ac"]))
        return loss, loss[None]

    return losses


def choose_validation_steps(data: Demonstrations, rng: np.random.Generator) -> np.ndarray:
    """Return [N] bool: about a tenth of the steps, of whole episodes if episodes are known and short enough."""
    wanted = max(1, round(VALIDATION_FRACTION * data.steps))
    if data.has_returns:
        episodes = np.cumsum(data.starts) - 1
        lengths = np.bincount(episodes)
        order = rng.permutation(len(lengths))
        chosen = order[: 1 + np.searchsorted(np.cumsum(lengths[order]), wanted)]
        if lengths[chosen].sum() <= data.steps // 2:
            return np.isin(episodes, chosen)
    validation = np.zeros(data.steps, bool)
    validation[rng.permutation(data.steps)[:wanted]] = True
    return validation


class BehaviourCloning:
    """One policy and its demonstrations, on one rank.

    Args:
        pi: the policy; its observation filter is updated by the data first.
        data: checked demonstrations.
        settings: how to clone.
        reward_normalizer: of the training, whose statistics are set from the data; None if returns are not scaled.
        on_epoch: called after every epoch.
    """

    def __init__(
        self,
        pi: Policy,
        data: Demonstrations,
        settings: CloningSettings,
        reward_normalizer: RewardNormalizer | None,
        on_epoch: Callable[[], None],
    ) -> None:
        self.pi, self.data, self.settings, self.on_epoch = pi, data, settings, on_epoch
        self.comm = Communicator(None)
        self.reward_normalizer = reward_normalizer
        encoded = encoded_observations(pi, data)
        if pi.ob_rms is not None:
            ranks, pi.ob_rms.comm = pi.ob_rms.comm, self.comm
            pi.ob_rms.update(pi.normalised_part(encoded))
            pi.ob_rms.comm = ranks
        self.x, self.ac = pi.inputs(encoded), stored_actions(pi, data)
        self.rng = seeding.generator(settings.seed, seeding.DEMONSTRATIONS)
        self.validation = choose_validation_steps(data, self.rng)
        self.processor = SegmentProcessor(pi, None, min(data.steps, EVALUATION_BLOCK), 1)
        self.policy_variables, self.value_variables = split_variables(pi)

    def run(self) -> None:
        """Clone the policy, and fit the value function if returns are known."""
        data, steps = self.data, f"{self.data.steps:,} steps"
        if data.has_returns:
            returns = data.episode_returns()
            steps += f", {len(returns):,} episodes, mean return {returns.mean():.6g}"
        log.info("demonstrations: %s: %s; %d of them validate", data.source, steps, self.validation.sum())
        self._clone_policy()
        if not self.settings.fits_value:
            log.info("demonstrations: this training has no value function to fit")
        elif not data.has_returns:
            log.info("demonstrations: no rewards and ends, so the value function is not fitted")
        elif not self.value_variables:
            log.info("demonstrations: the value function shares all its variables with the policy, so it is not fitted")
        else:
            self._fit_value()

    def _optimizer(self, key: str, losses: Callable[[Any], Losses], variables: list[tf.Variable]) -> MinibatchOptimizer:
        pi = self.pi
        return MinibatchOptimizer(
            losses(pi),
            (f"loss of the {key} from demonstrations",),
            MpiAdam(variables, epsilon=1e-5, comm=self.comm),
            xla=pi.xla,
            num_microbatches=pi.num_microbatches,
            shared=pi.shared(f"demonstrations: {key}", losses),
        )

    def _fit(
        self,
        what: str,
        optimizer: MinibatchOptimizer,
        variables: list[tf.Variable],
        arrays: Arrays,
        scores: Callable[[], dict[str, float]],
    ) -> None:
        """Fit the policy or the value function, and log the scores of the validation steps.

        Only the policy stops early. The training continues to fit V, whose error in a validation episode with unusual
        states may rise for some epochs while V is still far from the returns.
        """
        before = scores()
        stop_score = (lambda: -scores()[LOG_LIKELIHOOD]) if LOG_LIKELIHOOD in before else None
        epochs = fit(
            optimizer,
            variables,
            arrays,
            ~self.validation,
            BATCH_SIZE,
            self.rng,
            self.settings,
            stop_score,
            self.on_epoch,
        )
        after = scores()
        text = "; ".join(f"{name} {before[name]:.4g} before, {after[name]:.4g} after" for name in after)
        log.info("demonstrations: %s: %d of %d epochs; %s", what, epochs, self.settings.epochs, text)

    def _clone_policy(self) -> None:
        optimizer = self._optimizer("policy", cloning_losses, self.policy_variables)
        self._fit("policy", optimizer, self.policy_variables, {"x": self.x, "ac": self.ac}, self._policy_scores)

    def _policy_scores(self) -> dict[str, float]:
        """Return the mean log-likelihood of the validation steps, and how often or how far the mode is off."""
        pdtype = self.pi.pdtype
        flat, ac = self.processor.outputs(self.x[self.validation])[0], self.ac[self.validation]
        scores = {LOG_LIKELIHOOD: float(pdtype.pdfromflat(flat).logp(ac).numpy().mean(dtype=np.float64))}
        return scores | mode_scores(pdtype, pdtype.mode(NumpyOperators, flat), ac)

    def _fit_value(self) -> None:
        """Fit V to the returns, in the units of the training's rewards."""
        data, settings, normalizer = self.data, self.settings, self.reward_normalizer
        rewards = data.entries["rewards"] if normalizer is None else scaled_rewards(data, normalizer)
        ret = discounted_returns(data, rewards, settings.gamma, settings.bootstrap_time_limits)
        arrays = {"x": self.x, "ret": ret}
        optimizer = self._optimizer("value function", fit_losses, self.value_variables)
        self._fit("value function", optimizer, self.value_variables, arrays, lambda: self._value_scores(ret))

    def _value_scores(self, ret: np.ndarray) -> dict[str, float]:
        """Return the error of V in the validation steps, and its explained variance unless all returns are equal."""
        vpred, ret = self.processor.outputs(self.x[self.validation])[1], ret[self.validation]
        scores = {"root mean square error": float(np.sqrt(np.square(vpred - ret, dtype=np.float64).mean()))}
        if np.ptp(ret) > 0:
            scores["explained variance"] = explained_variance(vpred, ret)
        return scores


def clone(
    pi: Policy,
    data: Demonstrations,
    settings: CloningSettings,
    reward_normalizer: RewardNormalizer | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Set the observation filter, the policy and the value function from demonstrations, on one rank.

    Args:
        pi: the policy.
        data: the demonstrations.
        settings: how to clone.
        reward_normalizer: as for `BehaviourCloning`.
        on_epoch: called after every epoch.

    Raises:
        UserError: if data and policy do not fit, or a number becomes infinite.
    """
    check_demonstrations(data, pi)
    try:
        BehaviourCloning(pi, data, settings, reward_normalizer, on_epoch).run()
    except NonFiniteError as error:
        raise UserError(f"{data.source}: {error}; set a smaller demonstration_stepsize") from error
