"""Policy gradients that use their data once: REINFORCE (Williams 1992) and the advantage actor-critic (A2C, after Mnih et al. 2016).

They differ in their settings alone. REINFORCE takes whole episodes and returns to go, less a baseline: none, their mean, or a learned value
that is fitted apart. A2C takes short segments of many environments and advantages by GAE; lam = 1 makes them A3C's n-step returns, n being
what is left of the segment, lam = 0 one-step TD errors; value and policy share one gradient step.
"""

import functools

import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import VPGSettings
from baselines_ppo.objectives import policy_gradient, value_loss
from baselines_ppo.value_fit import ValueFunctionFitter, split_variables
from common.mpi_adam import MpiAdam
from common.optim.minibatch_optimizer import MinibatchOptimizer
from common.rollouts.advantages import add_vtarg_and_adv, episode_returns, gae, standardise
from common.training.stopping import StopCriteria

TERMS = ("loss_pol_surr", "loss_pol_entpen", "loss_vf_loss", "loss_kl", "loss_ent")


def learn(
    env,
    policy_fn,
    *,
    timesteps_per_actorbatch=2048,
    gamma=0.99,
    lam=1.0,
    entcoeff=0.0,
    optim_stepsize=1e-2,
    max_timesteps=0,
    max_episodes=0,
    max_iters=0,
    max_seconds=0,
    callback=None,
    seed=None,
    **options,
):
    """Train a policy by its gradient, one step a segment, on all ranks of the job.

    Args:
        env, policy_fn, max_timesteps, max_episodes, max_iters, max_seconds, callback, seed: as `pposgd_simple.learn` has them.
        timesteps_per_actorbatch: steps of a segment, per rank, over its environments; with whole episodes the least number of them.
        gamma, lam, entcoeff, optim_stepsize: see `VPGSettings`.
        options: further fields of `VPGSettings`: whole_episodes, baseline, reward_to_go, vf_iters, ...; and `learner.RunOptions`.

    Returns:
        pi, trained.

    Raises:
        UserError: before the first step, for any setting, space or environment that cannot be.
    """
    given = {
        "timesteps_per_actorbatch": timesteps_per_actorbatch,
        "gamma": gamma,
        "lam": lam,
        "entcoeff": entcoeff,
        "optim_stepsize": optim_stepsize,
    }
    limits = StopCriteria(max_timesteps, max_episodes, max_iters, max_seconds)
    learner = AlgorithmSetup(VPGSettings, given, options, limits, env, policy_fn, seed, callback)
    update = VPGUpdate(learner)
    with learner.training(update) as training:
        for _ in training.iterations():
            seg = training.collect()  # episodes, whole or cut after T steps
            learner.scale(seg)  # rewards, if returns are to be scaled
            learner.evaluate(seg)  # V(s_t)
            add_advantages(seg, learner.settings, learner.comm)  # returns less the baseline
            terms = update(seg, training.minibatch_rng(), training.progress)  # one step along the policy gradient
            training.finish(seg, terms)
    return learner.pi


def add_advantages(seg, settings, comm):
    """Adds `adv` and `tdlamret` to a segment: GAE with a learned baseline, else returns less nothing or less their mean over all ranks."""
    if settings.baseline == "value":
        add_vtarg_and_adv(seg, settings.gamma, settings.lam)
        return
    nothing = np.zeros_like(seg["rew"])
    returns = gae(seg["rew"], nothing, seg["new"], nothing[0], nothing, settings.gamma, 1.0)
    if not settings.reward_to_go:
        first = seg["new"] & seg["valid"]
        first[1:] |= (seg["new"] & ~seg["valid"])[
            :-1
        ]  # an episode begins behind the step that only reset its environment
        returns = episode_returns(returns, first)
    _, mean, _ = comm.moments(returns[seg["valid"]])
    seg["tdlamret"] = returns
    seg["adv"] = returns - np.float32(mean) if settings.baseline == "mean" else returns


def vpg_losses(pi, settings, joint):
    """The loss of a batch: -(log pi(a|s) A + entropy bonus), and the value loss where the value is fitted in the same step.

    Returns:
        A function (batch, weights [N], no scalars) -> (loss, terms as in `TERMS`).
    """

    def losses(batch, weights, scalars):
        """The loss of a batch, and its terms; `scalars` are none."""

        def mean(values):
            return tf.reduce_sum(weights * values)

        flat, vpred = pi.forward(batch["x"])
        pd, oldpd = pi.pdtype.pdfromflat(flat), pi.pdtype.pdfromflat(batch["flatparam"])
        pol_surr = -mean(policy_gradient(pd.logp(batch["ac"]), batch["atarg"]))
        ent = mean(pd.entropy())
        pol_entpen = -settings.entcoeff * ent
        vf_loss = mean(value_loss(vpred, batch["ret"]))
        loss = pol_surr + pol_entpen + (settings.vf_coef * vf_loss if joint else 0.0)
        return loss, tf.stack([pol_surr, pol_entpen, vf_loss, mean(oldpd.kl(pd)), ent])

    return losses


class VPGUpdate:
    """One step along the policy gradient, and the value function fitted: in that step, or apart.

    Args:
        learner: the `AlgorithmSetup`.
    """

    def __init__(self, learner):
        pi, settings, comm = learner.pi, learner.settings, learner.comm
        self.settings, self.comm, self.evaluate, self.horizon = settings, comm, learner.evaluate, learner.horizon
        valued = settings.baseline == "value"
        joint = valued and settings.vf_iters == 0
        self.adam = MpiAdam(
            pi.get_trainable_variables() if joint else split_variables(pi)[0], epsilon=settings.adam_epsilon, comm=comm
        )
        strategy = learner.strategy("policy and value" if joint else "policy", self.adam.size, self.horizon)
        shared = pi.shared(settings, functools.partial(vpg_losses, settings=settings, joint=joint))
        self.descent = MinibatchOptimizer(
            vpg_losses(pi, settings, joint),
            TERMS,
            self.adam,
            settings.max_grad_norm,
            pi.xla,
            strategy,
            pi.num_microbatches,
            shared,
        )
        self.value_fit = (
            ValueFunctionFitter(learner, settings.vf_stepsize, settings.vf_iters, settings.vf_batchsize)
            if valued and not joint
            else None
        )

    def parts(self):
        """What a checkpoint must hold beside the policy."""
        return {"adam": self.adam} | ({"vf_adam": self.value_fit.adam} if self.value_fit else {})

    def compile_ahead(self):
        """Functions () -> None that compile ahead of the first segment; nothing moves."""
        batch = self.evaluate.dummy_batch()
        own = (
            functools.partial(self.descent.compile_sweep, batch, self.horizon, [], 1),
            functools.partial(self.descent.compile_evaluate, batch, []),
        )
        return own + ((functools.partial(self.value_fit.compile, batch),) if self.value_fit else ())

    def __call__(self, seg, rng, progress):
        """Optimise on one segment.

        Args:
            seg: this rank's segment, evaluated, with advantages.
            rng: generator that shuffles the value function's minibatches.
            progress: how much of the run is done, 0 to 1, for the schedule.

        Returns:
            {name: number}: `TERMS` over the whole segment after the step, and the step size; over all ranks.
        """
        s = self.settings
        stepsize = s.optim_stepsize * (1 - progress if s.schedule == "linear" else 1.0)
        valid = seg["valid"].reshape(-1)
        batch = self.evaluate.batch(seg)
        if s.standardise_adv:
            batch["atarg"] = standardise(batch["atarg"], valid)
        batch, valid = self._padded(batch, valid)
        total = sum(self.comm.gather(int(valid.sum())))
        weights = valid * np.float32(
            self.comm.size / total
        )  # ranks may have more steps or fewer: the mean is over all steps of all
        self.descent.sweep(batch, np.arange(len(valid), dtype=np.int32)[None], weights[None], stepsize, [], 1)
        if self.value_fit:
            self.value_fit(batch, valid, rng)
        return dict(zip(TERMS, self.descent.evaluate(batch, weights, []).tolist())) | {"stepsize": stepsize}

    def _padded(self, batch, valid):
        """The batch with rows that do not count behind it, so that few lengths are ever compiled: horizon, 2 horizon, 4 horizon, ..."""
        rows = self.horizon
        while rows < max(self.comm.gather(len(valid))):
            rows *= 2

        def pad(x):
            return np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]), x.dtype)])

        padded = {name: pad(x) for name, x in batch.items()}
        padded["ac"][len(valid) :] = batch["ac"][
            0
        ]  # action 0 may not exist, and a weight of 0 makes no number of a NaN
        return padded, pad(valid)
