"""PPO, Algorithm 1 of Schulman et al. 2017 ("Proximal Policy Optimization Algorithms"): `learn` and its update."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.kl_penalty import AdaptiveKLCoefficient
from baselines_ppo.objectives import (
    OBJECTIVES,
    Coefficients,
    check_surrogate,
    clipped_value_loss,
    is_clipped,
    probability_ratio,
    value_loss,
)
from baselines_ppo.value_fit import make_value_fit, split_variables, value_lr_multipliers
from common.diagnostics.minibatch_bisect import MinibatchLabel
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatch_step import Losses, Tensors
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches
from common.policies.base import Policy
from common.policies.policy_pair import PolicyFn
from common.rollouts.advantages import add_vtarg_and_adv, standardise
from common.rollouts.segment import Batch, Segment
from common.rollouts.segment_generator import traj_segment_generator  # noqa: F401  Baselines' users import it from here
from common.training.callbacks import Callback
from common.training.stopping import StopCriteria

LOSS_NAMES = ("loss_pol_surr", "loss_pol_entpen", "loss_vf_loss", "loss_kl", "loss_ent", "clipfrac")


def learn(
    env: gym.Env | gym.vector.VectorEnv | str,
    policy_fn: PolicyFn | str,
    *,
    timesteps_per_actorbatch: int = PPOSettings.timesteps_per_actorbatch,
    clip_param: float = PPOSettings.clip_param,
    entcoeff: float = PPOSettings.entcoeff,
    optim_epochs: int = PPOSettings.optim_epochs,
    optim_stepsize: float = PPOSettings.optim_stepsize,
    optim_batchsize: int | None = PPOSettings.optim_batchsize,
    gamma: float = PPOSettings.gamma,
    lam: float = PPOSettings.lam,
    max_timesteps: int = 0,
    max_episodes: int = 0,
    max_iters: int = 0,
    max_seconds: float = 0,
    callback: Callback | Callable[..., Any] | list[Any] | None = None,
    adam_epsilon: float = PPOSettings.adam_epsilon,
    schedule: str = PPOSettings.schedule,
    seed: int | None = None,
    **options: Any,
) -> Policy:
    """Train a policy by PPO (https://arxiv.org/abs/1707.06347) on all ranks: Baselines' `learn`.

    Args:
        env: this rank's environment or environments; or a Gymnasium id, of which one environment is made and, at the
            end, closed. The training seeds it.
        policy_fn: function (name, ob_space, ac_space) that returns a `Policy`, such as the class `MlpPolicy`; or the
            name of a class, 'MlpPolicy' or 'CnnPolicy'.
        timesteps_per_actorbatch ... schedule: fields of `PPOSettings`; the defaults are the settings of 2017.
        max_timesteps, max_episodes, max_iters, max_seconds: when to stop; give exactly one.
        callback: function (locals, globals) that is called before each iteration with a dict of `pi`, `oldpi`, `seg`,
            `rewbuffer`, `lenbuffer`, `timesteps_so_far`, `episodes_so_far`, `iters_so_far`, `tstart`; or a `Callback`;
            or a list of both. Returning True or raising `StopTraining` stops the training.
        seed: an int; None draws one from NumPy's global generator on rank 0 and logs it at level INFO.
        options: other fields of `PPOSettings` and of `RunOptions`, such as `objective` or `run_dir`.

    Returns:
        The trained policy.

    Raises:
        UserError: before the first step, for an invalid setting, space or environment.
        EnvError, NonFiniteError: during the training, for an environment that fails or a number that is not finite.
    """
    rollout = {"timesteps_per_actorbatch": timesteps_per_actorbatch, "gamma": gamma, "lam": lam}
    loss = {"clip_param": clip_param, "entcoeff": entcoeff, "optim_epochs": optim_epochs}
    adam = {"optim_stepsize": optim_stepsize, "adam_epsilon": adam_epsilon, "schedule": schedule}
    kwargs = rollout | loss | adam | {"optim_batchsize": optim_batchsize}
    limits = StopCriteria(max_timesteps, max_episodes, max_iters, max_seconds)
    with AlgorithmSetup(PPOSettings, kwargs, options, limits, env, policy_fn, seed, callback) as setup:
        update = PPOUpdate(setup)
        with setup.training(update) as training:
            for _ in training.iterations():
                seg = training.collect()  # run pi_old for T steps in each environment
                setup.scale_rewards(seg)  # if returns are scaled
                setup.processor(seg)  # oldpi <- pi; V(s_t), and oldpi's parameters at s_t, by its memory if it has one
                add_vtarg_and_adv(seg, setup.settings.discount(training.progress), setup.settings.lam)  # A_t by GAE
                losses = update(seg, training.minibatch_rng(), training.progress)  # K epochs of minibatches of L
                training.end_iteration(seg, losses)  # statistics, log, checkpoint
    return setup.pi


def ppo_losses(pi: Policy, settings: PPOSettings) -> Losses:
    """The loss of a minibatch, -(L - c1 L^VF + c2 S): Schulman et al. 2017, eq. 9, for any surrogate L.

    Returns:
        A function (minibatch, weights [B], scalars) -> (loss, terms `LOSS_NAMES`). The minibatch has the fields of
        `Batch`, the scalars are `Coefficients`, and the weights sum to 1 over the samples of all ranks.
    """
    surrogate = OBJECTIVES[settings.objective]

    def losses(batch: Tensors, weights: tf.Tensor, scalars: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def mean(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(weights * values)

        c = Coefficients(*tf.unstack(scalars))
        flat, vpred = pi.outputs(batch["x"])
        pd, oldpd = pi.pdtype.pdfromflat(flat), pi.pdtype.pdfromflat(batch["flatparam"])
        ratio = probability_ratio(pd.logp(batch["ac"]), oldpd.logp(batch["ac"]))
        kl = oldpd.kl(pd)
        pol_surr = -mean(surrogate(ratio, batch["atarg"], kl, c))
        vf_loss = mean(
            value_loss(vpred, batch["ret"])
            if settings.vf_clip is None
            else clipped_value_loss(vpred, batch["vpred"], batch["ret"], settings.vf_clip)
        )
        ent = mean(pd.entropy())
        pol_entpen = -settings.entcoeff * ent
        if settings.vf_iters:
            vf_loss = tf.stop_gradient(vf_loss)  # the value function is fitted separately
        loss = pol_surr + pol_entpen + settings.vf_coef * vf_loss
        return loss, tf.stack([pol_surr, pol_entpen, vf_loss, mean(kl), ent, mean(is_clipped(ratio, c.clip_param))])

    return losses


def make_adam(setup: AlgorithmSetup[PPOSettings]) -> MpiAdam:
    """Adam on the variables of the policy, and on those of the value function unless it is fitted separately."""
    pi, s = setup.pi, setup.settings
    variables = split_variables(pi)[0] if s.vf_iters else pi.get_trainable_variables()
    lr_multipliers = None
    if s.vf_stepsize is not None and not s.vf_iters:
        lr_multipliers = value_lr_multipliers(pi, s.vf_stepsize / s.optim_stepsize)
    return MpiAdam(variables, epsilon=s.adam_epsilon, lr_multipliers=lr_multipliers, comm=setup.comm)


class PPOUpdate:
    """K epochs of minibatches over a segment.

    Args:
        setup: the `AlgorithmSetup`.

    Attributes:
        value_fit: the `ValueFunctionFitter`; None if the value function is updated together with the policy.
        adam: the `MpiAdam` of the policy's variables, and of the value function's unless it is fitted separately.
        averaging: 'gather' or 'average'.
        optimizer: the `MinibatchOptimizer`.
        minibatch_losses: [M, len(LOSS_NAMES)] of the last iteration's minibatches, each before its step, averaged over
            ranks.
    """

    def __init__(self, setup: AlgorithmSetup[PPOSettings]):
        pi, settings = setup.pi, setup.settings
        self.pi = pi
        self.settings = settings
        self.comm = setup.comm
        self.processor = setup.processor
        self.value_fit = make_value_fit(setup)
        self.adam = make_adam(setup)
        self.penalty = AdaptiveKLCoefficient(settings)
        batch_size = settings.optim_batchsize or settings.timesteps_per_actorbatch
        check_surrogate(settings.objective, batch_size)
        self.batch_size = self.processor.rows("optim_batchsize", batch_size)
        group = "policy" if self.value_fit else "policy and value"
        self.averaging = setup.choose_averaging(group, self.adam.size, batch_size)
        self.optimizer = MinibatchOptimizer(
            ppo_losses(pi, settings),
            LOSS_NAMES,
            self.adam,
            settings.max_grad_norm,
            pi.xla,
            self.averaging,
            pi.num_microbatches,
            pi.shared((settings, OBJECTIVES[settings.objective]), functools.partial(ppo_losses, settings=settings)),
        )
        # whether something happens between two epochs, so that they cannot be one call of the optimizer
        self.epoch_by_epoch = settings.recompute_adv or settings.target_kl is not None
        minibatches = len(self.processor.dummy_batch().ret) // self.batch_size
        self.max_minibatches = (1 if self.epoch_by_epoch else settings.optim_epochs) * minibatches
        self.minibatch_losses = np.zeros((0, len(LOSS_NAMES)), np.float32)

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}: what a checkpoint contains in addition to the policy."""
        value_fit = {"vf_adam": self.value_fit.adam} if self.value_fit else {}
        return {"adam": self.adam} | value_fit | ({"penalty": self.penalty} if self.penalty.adaptive else {})

    def compile_ahead(self) -> tuple[Callable[[], None], ...]:
        """Functions that compile before the first segment is there; no parameter changes."""
        batch = self.processor.dummy_batch()
        sample = batch.map(self._every_nth).arrays()
        optimizer, scalars, steps = self.optimizer, [1.0, 1.0], self.processor.steps
        value_fit = [functools.partial(self.value_fit.compile, batch)] if self.value_fit else []
        return (
            lambda: optimizer.compile_minibatches(
                batch.arrays(), self.batch_size, scalars, self.max_minibatches, steps
            ),
            lambda: optimizer.compile_evaluate(sample, scalars, steps),
            *value_fit,
        )

    def __call__(self, seg: Segment, rng: np.random.Generator, progress: float) -> dict[str, float]:
        """Optimise on one segment. Collective.

        Args:
            seg: this rank's segment, processed, with advantages.
            rng: shuffles the minibatches.
            progress: completed fraction of the training, for schedules.

        Returns:
            `LOSS_NAMES` over the segment after the last epoch (`Policy.metrics_rows`), averaged over ranks; beta; the
            step size.
        """
        s = self.settings
        stepsize = s.optim_stepsize * (1 - progress if s.schedule == "linear" else 1.0)
        scalars = [s.clip_param * (1 - progress if s.clip_schedule == "linear" else 1.0), self.penalty.beta]
        batch, valid = self.make_batch(seg)
        batch_size = self.batch_size if s.optim_batchsize else None
        count = int(self.comm.minimum(minibatches_per_epoch(valid, batch_size)))
        batch = self._run_epochs(seg, batch, valid, rng, count, stepsize, scalars, s.discount(progress))
        losses = dict(zip(LOSS_NAMES, self._evaluate_losses(batch, valid, scalars)))
        if self.value_fit:
            losses["loss_vf_loss"] = self.value_fit(batch, valid, rng)
        beta = {"beta": self.penalty.beta} if s.objective in ("adaptive_kl", "fixed_kl") else {}
        self.penalty.update(losses["loss_kl"])
        return losses | beta | {"stepsize": stepsize}

    def _run_epochs(
        self,
        seg: Segment,
        batch: Batch,
        valid: np.ndarray,
        rng: np.random.Generator,
        count: int,
        stepsize: float,
        scalars: list[float],
        gamma: float,
    ) -> Batch:
        """Run all epochs, or those up to `target_kl`; returns the batch of the last one."""
        s = self.settings
        updated_segment, minibatch_losses = seg.copy(), []
        for epoch in range(s.optim_epochs if self.epoch_by_epoch else 1):
            if s.recompute_adv and epoch > 0:
                self.processor.recompute_values(updated_segment)
                add_vtarg_and_adv(updated_segment, gamma, s.lam)
                # `vf_clip` is relative to the values of the policy that acted
                batch = replace(self.make_batch(updated_segment)[0], vpred=batch.vpred)
            epochs_at_once = 1 if self.epoch_by_epoch else s.optim_epochs
            batch_size = self.batch_size if s.optim_batchsize else None
            indices, weights = shuffle_into_minibatches(rng, valid, batch_size, epochs_at_once, count)
            label = MinibatchLabel(count, epoch)
            losses = self.optimizer.run_minibatches(
                batch.arrays(), indices, weights, stepsize, scalars, self.max_minibatches, label
            )
            minibatch_losses.append(losses)
            if s.target_kl is not None and losses[:, LOSS_NAMES.index("loss_kl")].mean() > 1.5 * s.target_kl:
                break
        self.minibatch_losses = np.concatenate(minibatch_losses)
        return batch

    def _evaluate_losses(self, batch: Batch, valid: np.ndarray, scalars: list[float]) -> list[float]:
        """`LOSS_NAMES` of the current policy, over `Policy.metrics_rows` samples, averaged over ranks."""
        sample, valid = batch.map(self._every_nth), self._every_nth(valid)
        weights = valid / np.float32(max(valid.sum(), 1))
        losses: list[float] = self.optimizer.evaluate(sample.arrays(), weights, scalars).tolist()
        return losses

    def _every_nth(self, x: np.ndarray) -> np.ndarray:
        """About `Policy.metrics_rows` evenly spaced samples, or sequences, of [N, ...]; all if it is None."""
        samples = self.settings.timesteps_per_actorbatch
        return x[:: max(1, samples // (self.pi.metrics_rows or samples))]

    def make_batch(self, seg: Segment) -> tuple[Batch, np.ndarray]:
        """The samples of a segment, with standardised advantages if that is set, and which of them are valid.

        With a memory, they are sequences (`SegmentProcessor.make_batch`).
        """
        batch, valid = self.processor.make_batch(seg)
        if self.settings.standardise_adv:
            batch = replace(batch, atarg=standardise(batch.atarg, valid))
        return batch, valid
