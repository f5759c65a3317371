"""PPO, Algorithm 1 of Schulman et al. 2017 ("Proximal Policy Optimization Algorithms"): `learn`, and the update it makes."""

import functools

import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.objectives import (
    OBJECTIVES,
    Coefficients,
    adapt_kl_coefficient,
    clipped,
    clipped_value_loss,
    probability_ratio,
    value_loss,
)
from baselines_ppo.value_fit import value_lr_multipliers
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.optim.minibatches import minibatches_per_epoch, shuffle_into_minibatches
from common.rollouts.advantages import add_vtarg_and_adv, standardise
from common.rollouts.collector import traj_segment_generator  # noqa: F401  Baselines' users import it from here
from common.training.stopping import StopCriteria

TERMS = ("loss_pol_surr", "loss_pol_entpen", "loss_vf_loss", "loss_kl", "loss_ent", "clipfrac")


def learn(
    env,
    policy_fn,
    *,
    timesteps_per_actorbatch=2048,
    clip_param=0.2,
    entcoeff=0.0,
    optim_epochs=10,
    optim_stepsize=3e-4,
    optim_batchsize=64,
    gamma=0.99,
    lam=0.95,
    max_timesteps=0,
    max_episodes=0,
    max_iters=0,
    max_seconds=0,
    callback=None,
    adam_epsilon=1e-5,
    schedule="constant",
    seed=None,
    **options,
):
    """Train a policy by PPO on all ranks of the job; Baselines' `pposgd_simple.learn`, with the 2017 settings as defaults.

    Args:
        env: a `gymnasium.Env` or `VectorEnv`, this rank's own.
        policy_fn: function (name, ob_space, ac_space) -> `Policy`.
        timesteps_per_actorbatch: T, steps of a segment, per rank, over its environments.
        clip_param, entcoeff, optim_epochs, optim_stepsize, optim_batchsize, gamma, lam, adam_epsilon, schedule: see `PPOSettings`.
        max_timesteps, max_episodes, max_iters, max_seconds: when to stop; exactly one.
        callback: function (locals, globals) called before every iteration with a dict of `pi`, `oldpi`, `seg`, `rewbuffer`, `lenbuffer`,
            `timesteps_so_far`, `episodes_so_far`, `iters_so_far`, `tstart`; or a `Callback`, or a list of both. Returning True or raising
            `StopTraining` ends the run.
        seed: an int; None draws one from NumPy's global generator on rank 0, and the logger `baselines_ppo` says which, at level INFO.
        options: further fields of `PPOSettings`: objective, beta, kl_target, kl_min, kl_max, vf_coef, vf_clip, vf_stepsize, max_grad_norm, target_kl,
            standardise_adv, recompute_adv, scale_returns, bootstrap_time_limits, clip_schedule; and `learner.RunOptions`: run_dir, progress,
            load_path, averaging ...

    Returns:
        pi, trained.

    Raises:
        UserError: before the first step, for any setting, space or environment that cannot be.
    """
    given = {
        "timesteps_per_actorbatch": timesteps_per_actorbatch,
        "clip_param": clip_param,
        "entcoeff": entcoeff,
        "optim_epochs": optim_epochs,
        "optim_stepsize": optim_stepsize,
        "optim_batchsize": optim_batchsize,
        "gamma": gamma,
        "lam": lam,
        "adam_epsilon": adam_epsilon,
        "schedule": schedule,
    }
    limits = StopCriteria(max_timesteps, max_episodes, max_iters, max_seconds)
    learner = AlgorithmSetup(PPOSettings, given, options, limits, env, policy_fn, seed, callback)
    update = PPOUpdate(learner)
    with learner.training(update) as training:
        for _ in training.iterations():
            seg = training.collect()  # run pi_old for T steps in every environment
            learner.scale(seg)  # rewards, if returns are to be scaled
            learner.evaluate(seg)  # oldpi <- pi; V(s_t), and oldpi's parameters at s_t
            add_vtarg_and_adv(seg, learner.settings.gamma, learner.settings.lam)  # A_1 ... A_T by GAE
            terms = update(
                seg, training.minibatch_rng(), training.progress
            )  # K epochs of minibatches of the surrogate L
            training.finish(seg, terms)  # statistics, log, checkpoint
    return learner.pi


def ppo_losses(pi, settings):
    """The loss of a minibatch, -(L - c1 L^VF + c2 S): Schulman et al. 2017, eq. 9 for any surrogate L, with what Baselines logs of it.

    Returns:
        A function (minibatch, weights [B], scalars as in `Coefficients`) -> (loss, terms as in `TERMS`), where `minibatch` holds `x`, `ac`,
        `flatparam` (oldpi's), `vpred` (oldpi's), `atarg`, `ret`; weights sum to 1 over all ranks' rows.
    """
    surrogate = OBJECTIVES[settings.objective]

    def losses(batch, weights, scalars):
        """-(L - c1 L^VF + c2 S) of a minibatch, and its terms."""

        def mean(values):
            return tf.reduce_sum(weights * values)

        c = Coefficients(*tf.unstack(scalars))
        flat, vpred = pi.forward(batch["x"])
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
        loss = pol_surr + pol_entpen + settings.vf_coef * vf_loss
        return loss, tf.stack([pol_surr, pol_entpen, vf_loss, mean(kl), ent, mean(clipped(ratio, c.clip_param))])

    return losses


class AdaptiveKLCoefficient:
    """beta of the KL penalty: fixed, or adapted once an iteration to the KL that the update made, over all ranks.

    Attributes:
        beta: as it stands.
    """

    def __init__(self, settings):
        self.beta, self.adaptive = settings.beta, settings.objective == "adaptive_kl"
        self.low, self.high = settings.kl_min or settings.kl_target / 1.5, settings.kl_max or settings.kl_target * 1.5

    def update(self, kl):
        """After an iteration whose KL(pi_old || pi) is `kl`."""
        if self.adaptive:
            self.beta = adapt_kl_coefficient(self.beta, kl, self.low, self.high)

    def state(self):
        """beta, for a checkpoint."""
        return {"beta": np.array([self.beta])}

    def restore(self, state):
        """Take over what `state` gave."""
        self.beta = float(state["beta"][0])


class PPOUpdate:
    """K epochs of minibatches over a segment.

    Args:
        learner: the `AlgorithmSetup`.

    Attributes:
        averaging: how gradients are averaged, 'gather' or 'average'.
        minibatch_terms: [M, len(TERMS)] of the last iteration's minibatches, each before its step, the mean over ranks.
    """

    def __init__(self, learner):
        pi, settings, comm = learner.pi, learner.settings, learner.comm
        self.pi, self.settings, self.comm, self.evaluate = pi, settings, comm, learner.evaluate
        factors = (
            None
            if settings.vf_stepsize is None
            else value_lr_multipliers(pi, settings.vf_stepsize / settings.optim_stepsize)
        )
        self.adam = MpiAdam(pi.get_trainable_variables(), epsilon=settings.adam_epsilon, factors=factors, comm=comm)
        self.penalty = AdaptiveKLCoefficient(settings)
        self.batch_size = settings.optim_batchsize or settings.timesteps_per_actorbatch
        self.averaging = learner.strategy("policy and value", self.adam.size, self.batch_size)
        shared = pi.shared((settings, OBJECTIVES[settings.objective]), functools.partial(ppo_losses, settings=settings))
        self.descent = MinibatchOptimizer(
            ppo_losses(pi, settings),
            TERMS,
            self.adam,
            settings.max_grad_norm,
            pi.xla,
            self.averaging,
            pi.num_microbatches,
            shared,
        )
        self.one_by_one = settings.recompute_adv or settings.target_kl is not None
        self.room = (1 if self.one_by_one else settings.optim_epochs) * (
            settings.timesteps_per_actorbatch // self.batch_size
        )
        self.minibatch_terms = None

    def parts(self):
        """What a checkpoint must hold beside the policy."""
        return {"adam": self.adam} | ({"penalty": self.penalty} if self.penalty.adaptive else {})

    def compile_ahead(self):
        """Functions () -> None that compile ahead of the first segment; nothing moves."""
        batch = self.evaluate.dummy_batch()
        return (
            functools.partial(self.descent.compile_sweep, batch, self.batch_size, [1.0, 1.0], self.room),
            functools.partial(self.descent.compile_evaluate, self._sample(batch), [1.0, 1.0]),
        )

    def __call__(self, seg, rng, progress):
        """Optimise on one segment.

        Args:
            seg: this rank's segment, evaluated, with advantages.
            rng: generator that shuffles the minibatches.
            progress: how much of the run is done, 0 to 1, for the schedules.

        Returns:
            {name: number}: `TERMS` over the segment (`Policy.metrics_rows`) after the last epoch, beta, and the step size; the mean over ranks.
        """
        s = self.settings
        stepsize = s.optim_stepsize * (1 - progress if s.schedule == "linear" else 1.0)
        scalars = [s.clip_param * (1 - progress if s.clip_schedule == "linear" else 1.0), self.penalty.beta]
        valid = seg["valid"].reshape(-1)
        count = self.comm.minimum(minibatches_per_epoch(valid, s.optim_batchsize))
        batch = self._batch(seg, valid)
        newest, minibatch_terms = dict(seg), []
        for epoch in range(s.optim_epochs if self.one_by_one else 1):
            if s.recompute_adv and epoch > 0:
                self.evaluate.recompute_values(newest)
                add_vtarg_and_adv(newest, s.gamma, s.lam)
                batch = self._batch(newest, valid) | {
                    "vpred": batch["vpred"]
                }  # of the policy that acted, from which `vf_clip` counts
            indices, weights = shuffle_into_minibatches(
                rng, valid, s.optim_batchsize, 1 if self.one_by_one else s.optim_epochs, count
            )
            terms = self.descent.sweep(batch, indices, weights, stepsize, scalars, self.room, count, epoch)
            minibatch_terms.append(terms)
            if s.target_kl is not None and terms[:, TERMS.index("loss_kl")].mean() > 1.5 * s.target_kl:
                break
        self.minibatch_terms = np.concatenate(minibatch_terms)
        after = dict(zip(TERMS, self._terms(batch, valid, scalars)))
        beta = {"beta": self.penalty.beta} if s.objective in ("adaptive_kl", "fixed_kl") else {}
        self.penalty.update(after["loss_kl"])
        return after | beta | {"stepsize": stepsize}

    def _terms(self, batch, valid, scalars):
        """`TERMS` as the policy now stands, over the segment or, where that is dear, rows evenly spaced in it; the mean over ranks."""
        batch, valid = self._sample(batch), self._sample({"valid": valid})["valid"]
        return self.descent.evaluate(batch, valid / np.float32(max(valid.sum(), 1)), scalars).tolist()

    def _sample(self, batch):
        every = max(
            1,
            self.settings.timesteps_per_actorbatch // (self.pi.metrics_rows or self.settings.timesteps_per_actorbatch),
        )
        return {name: x[::every] for name, x in batch.items()}

    def _batch(self, seg, valid):
        batch = self.evaluate.batch(seg)
        return batch | {"atarg": standardise(batch["atarg"], valid)} if self.settings.standardise_adv else batch
