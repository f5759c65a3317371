"""Policy gradients that use each sample once: REINFORCE (Williams 1992) and A2C (Mnih et al. 2016).

They differ only in their settings, which `VPGSettings` documents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import VPGSettings
from baselines_ppo.objectives import policy_gradient, value_loss
from baselines_ppo.value_fit import ValueFunctionFitter, split_variables
from common.distributed.communicator import Communicator
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatch_step import Losses, Tensors
from common.policies.base import Policy
from common.policies.policy_pair import PolicyFn
from common.rollouts.advantages import add_vtarg_and_adv, episode_returns, gae, standardise
from common.rollouts.segment import Batch, Segment
from common.training.callbacks import Callback
from common.training.stopping import StopCriteria

LOSS_NAMES = ("loss_pol_surr", "loss_pol_entpen", "loss_vf_loss", "loss_kl", "loss_ent")


def learn(
    env: gym.Env | gym.vector.VectorEnv | str,
    policy_fn: PolicyFn | str,
    *,
    timesteps_per_actorbatch: int = VPGSettings.timesteps_per_actorbatch,
    gamma: float = VPGSettings.gamma,
    lam: float = VPGSettings.lam,
    entcoeff: float = VPGSettings.entcoeff,
    optim_stepsize: float = VPGSettings.optim_stepsize,
    max_timesteps: int = 0,
    max_episodes: int = 0,
    max_iters: int = 0,
    max_seconds: float = 0,
    callback: Callback | Callable[..., Any] | list[Any] | None = None,
    seed: int | None = None,
    **options: Any,
) -> Policy:
    """Train a policy by policy gradient, one step per segment, on all ranks of the job.

    REINFORCE: Williams 1992, https://doi.org/10.1007/BF00992696. A2C: Mnih et al. 2016,
    https://arxiv.org/abs/1602.01783, with synchronous environments.

    Args:
        env, policy_fn, max_timesteps ... seed: as in `pposgd_simple.learn`.
        timesteps_per_actorbatch, gamma, lam, entcoeff, optim_stepsize: fields of `VPGSettings`, which documents them.
        options: other fields of `VPGSettings` and of `RunOptions`, such as `baseline` or `run_dir`.

    Returns:
        The trained policy.

    Raises:
        UserError: before the first step, for an invalid setting, space or environment.
        EnvError, NonFiniteError: during the training, for an environment that fails or a number that is not finite.
    """
    algorithm_kwargs = {
        "timesteps_per_actorbatch": timesteps_per_actorbatch,
        "gamma": gamma,
        "lam": lam,
        "entcoeff": entcoeff,
        "optim_stepsize": optim_stepsize,
    }
    limits = StopCriteria(max_timesteps, max_episodes, max_iters, max_seconds)
    with AlgorithmSetup(VPGSettings, algorithm_kwargs, options, limits, env, policy_fn, seed, callback) as setup:
        update = VPGUpdate(setup)
        with setup.training(update) as training:
            for _ in training.iterations():
                seg = training.collect()  # whole episodes, or T steps
                setup.scale_rewards(seg)  # if returns are scaled
                setup.processor(seg)  # V(s_t)
                add_advantages(seg, setup.settings, setup.comm, training.progress)  # returns minus the baseline
                losses = update(seg, training.minibatch_rng(), training.progress)  # one step along the policy gradient
                training.end_iteration(seg, losses)  # statistics, log, checkpoint
    return setup.pi


def add_advantages(seg: Segment, settings: VPGSettings, comm: Communicator, progress: float = 0.0) -> None:
    """Add `adv` and `tdlamret` to a segment: GAE with a value baseline, else returns, minus their mean if that is set.

    Args:
        seg: this rank's segment.
        settings: its `baseline`, `gamma`, `gamma_final`, `lam` and `reward_to_go` are used.
        comm: the ranks over which the mean is taken.
        progress: completed fraction of the training.
    """
    gamma = settings.discount(progress)
    if settings.baseline == "value":
        add_vtarg_and_adv(seg, gamma, settings.lam)
        return
    no_value = np.zeros_like(seg["rew"])
    returns = gae(seg["rew"], no_value, seg["new"], no_value[0], no_value, gamma, 1.0)
    if not settings.reward_to_go:
        first = seg["new"] & seg["valid"]
        # in AutoresetMode.NEXT_STEP an episode starts after the step that only reset its environment
        first[1:] |= (seg["new"] & ~seg["valid"])[:-1]
        returns = episode_returns(returns, first)
    _, mean, _ = comm.moments(returns[seg["valid"]])
    seg["tdlamret"] = returns
    seg["adv"] = returns - np.float32(mean) if settings.baseline == "mean" else returns


def vpg_losses(pi: Policy, settings: VPGSettings, joint: bool) -> Losses:
    """The loss of a batch: -(log pi(a|s) A + c2 S), plus c1 L^VF if `joint` (one step for policy and value).

    Returns:
        A function (batch, weights [N], scalars [0]) -> (loss, terms `LOSS_NAMES`). The batch has the fields of `Batch`.
    """

    def losses(batch: Tensors, weights: tf.Tensor, scalars: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def mean(values: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(weights * values)

        flat, vpred = pi.outputs(batch["x"])
        pd, oldpd = pi.pdtype.pdfromflat(flat), pi.pdtype.pdfromflat(batch["flatparam"])
        pol_surr = -mean(policy_gradient(pd.logp(batch["ac"]), batch["atarg"]))
        ent = mean(pd.entropy())
        pol_entpen = -settings.entcoeff * ent
        vf_loss = mean(value_loss(vpred, batch["ret"]))
        loss = pol_surr + pol_entpen + (settings.vf_coef * vf_loss if joint else 0.0)
        return loss, tf.stack([pol_surr, pol_entpen, vf_loss, mean(oldpd.kl(pd)), ent])

    return losses


class VPGUpdate:
    """One step along the policy gradient; the value function is fitted in the same step or separately.

    Args:
        setup: the `AlgorithmSetup`.

    Attributes:
        adam: the `MpiAdam` of the policy's variables, or of all if value and policy share a step.
        optimizer: the `MinibatchOptimizer` of the step.
        value_fit: the `ValueFunctionFitter`; None if the value is not fitted separately.
    """

    def __init__(self, setup: AlgorithmSetup[VPGSettings]):
        pi, settings = setup.pi, setup.settings
        self.settings = settings
        self.comm = setup.comm
        self.processor = setup.processor
        self.horizon = setup.horizon
        self.rows = len(self.processor.dummy_batch().ret)  # of the batch of a segment of `horizon` samples
        has_value_baseline = settings.baseline == "value"
        joint = has_value_baseline and settings.vf_iters == 0
        variables = pi.get_trainable_variables() if joint else split_variables(pi)[0]
        self.adam = MpiAdam(variables, epsilon=settings.adam_epsilon, comm=self.comm)
        group = "policy and value" if joint else "policy"
        self.optimizer = MinibatchOptimizer(
            vpg_losses(pi, settings, joint),
            LOSS_NAMES,
            self.adam,
            settings.max_grad_norm,
            pi.xla,
            setup.choose_averaging(group, self.adam.size, self.horizon),
            pi.num_microbatches,
            pi.shared(settings, functools.partial(vpg_losses, settings=settings, joint=joint)),
        )
        self.value_fit = None
        if has_value_baseline and not joint:
            self.value_fit = ValueFunctionFitter(setup, settings.vf_stepsize, settings.vf_iters, settings.vf_batchsize)

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}: what a checkpoint contains in addition to the policy."""
        return {"adam": self.adam} | ({"vf_adam": self.value_fit.adam} if self.value_fit else {})

    def compile_ahead(self) -> tuple[Callable[[], None], ...]:
        """Functions that compile before the first segment is there; no parameter changes."""
        batch = self.processor.dummy_batch()
        own = (
            functools.partial(
                self.optimizer.compile_minibatches, batch.arrays(), self.rows, [], 1, self.processor.steps
            ),
            functools.partial(self.optimizer.compile_evaluate, batch.arrays(), [], self.processor.steps),
        )
        return own + ((functools.partial(self.value_fit.compile, batch),) if self.value_fit else ())

    def __call__(self, seg: Segment, rng: np.random.Generator, progress: float) -> dict[str, float]:
        """Optimise on one segment. Collective.

        Args:
            seg: this rank's segment, processed, with advantages.
            rng: shuffles the minibatches of the value function.
            progress: completed fraction of the training, for the schedule.

        Returns:
            `LOSS_NAMES` over the segment after the step, over all ranks; the step size.
        """
        s = self.settings
        stepsize = s.optim_stepsize * (1 - progress if s.schedule == "linear" else 1.0)
        batch, valid = self.processor.make_batch(seg)
        if s.standardise_adv:
            batch = replace(batch, atarg=standardise(batch.atarg, valid))
        batch, valid = self._padded(batch, valid)
        arrays = batch.arrays()
        total = sum(self.comm.gather(int(valid.sum())))
        # a mean over all steps, of which ranks may have unequal numbers
        weights = valid * np.float32(self.comm.size / total)
        indices = np.arange(len(valid), dtype=np.int32)[None]
        self.optimizer.run_minibatches(arrays, indices, weights[None], stepsize, [], 1)
        if self.value_fit:
            self.value_fit(batch, valid, rng)
        return dict(zip(LOSS_NAMES, self.optimizer.evaluate(arrays, weights, []).tolist())) | {"stepsize": stepsize}

    def _padded(self, batch: Batch, valid: np.ndarray) -> tuple[Batch, np.ndarray]:
        """Append invalid rows up to a length of n, 2 n, 4 n, ..., where n is `rows`: few lengths are compiled."""
        samples = self.rows
        while samples < max(self.comm.gather(len(valid))):
            samples *= 2

        def pad(x: np.ndarray) -> np.ndarray:
            return np.concatenate([x, np.zeros((samples - len(x), *x.shape[1:]), x.dtype)])

        padded = batch.map(pad)
        # action 0 may be invalid, and a weight of 0 does not remove the resulting NaN
        padded.ac[len(valid) :] = batch.ac[0]
        return padded, pad(valid)
