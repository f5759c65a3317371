"""PPO, Algorithm 1 of Schulman et al. 2017 ("Proximal Policy Optimization Algorithms"): `learn`, and the update it makes."""
import numpy as np
import tensorflow as tf

from baselines_ppo.objectives import clipped, clipped_surrogate, clipped_value_loss, probability_ratio, value_loss
from baselines_ppo.settings import PPOSettings
from common import mpi, seeding
from common.advantages import add_vtarg_and_adv, standardise
from common.errors import UserError
from common.evaluation import SegmentEvaluator
from common.limits import Limits
from common.minibatches import minibatches_per_epoch, plan_minibatches
from common.mpi_adam import MpiAdam
from common.optimise import MinibatchDescent, choose_strategy
from common.return_scaling import ReturnScaler
from common.segments import traj_segment_generator  # noqa: F401  Baselines' users import it from here
from common.training import Training

TERMS = ("loss_pol_surr", "loss_pol_entpen", "loss_vf_loss", "loss_kl", "loss_ent", "clipfrac")


def learn(env, policy_fn, *, timesteps_per_actorbatch=2048, clip_param=0.2, entcoeff=0.0, optim_epochs=10, optim_stepsize=3e-4,
          optim_batchsize=64, gamma=0.99, lam=0.95, max_timesteps=0, max_episodes=0, max_iters=0, max_seconds=0, callback=None,
          adam_epsilon=1e-5, schedule="constant", seed=None, averaging="auto", comm=None, logger=None, folder=None, checkpoint=None,
          checkpoint_every=25, on_start=None, **options):
    """Train a policy by PPO on all ranks of the job; Baselines' `pposgd_simple.learn`, with the 2017 settings as defaults.

    Args:
        env: a `gymnasium.Env` or `VectorEnv`, this rank's own.
        policy_fn: function (name, ob_space, ac_space) -> `Policy`.
        timesteps_per_actorbatch: T, steps of a segment, per rank, over its environments.
        clip_param, entcoeff, optim_epochs, optim_stepsize, optim_batchsize, gamma, lam, adam_epsilon, schedule: see `PPOSettings`.
        max_timesteps, max_episodes, max_iters, max_seconds: when to stop; exactly one.
        callback: function (locals, globals) called before every iteration with a dict of `pi`, `oldpi`, `seg`, `rewbuffer`, `lenbuffer`,
            `timesteps_so_far`, `episodes_so_far`, `iters_so_far`, `tstart`; returning True or raising `StopTraining` ends the run.
        seed: an int; None draws one from NumPy's global generator on rank 0.
        averaging: 'gather', 'average' (see `common.optimise`) or 'auto', by ranks, batch and network.
        comm: the ranks; all of the job if None.
        logger, folder, checkpoint, checkpoint_every: where to log and to write checkpoints, and where to go on from (`common.training`).
        on_start: function (`Training`), called once before the first step.
        options: further fields of `PPOSettings`: vf_coef, vf_clip, max_grad_norm, target_kl, standardise_adv, recompute_adv,
            scale_returns, clip_schedule.

    Returns:
        pi, trained.

    Raises:
        UserError: before the first step, for any setting, space or environment that cannot be.
    """
    try:
        settings = PPOSettings(timesteps_per_actorbatch, clip_param, entcoeff, optim_epochs, optim_stepsize, optim_batchsize, gamma, lam,
                               adam_epsilon, schedule, **options)
    except TypeError as error:
        raise UserError(f"learn() does not take {', '.join(options)}: {error}") from error
    limits = Limits(max_timesteps, max_episodes, max_iters, max_seconds)
    settings.check()
    settings.check_with(limits)
    comm = comm or mpi.world()
    seed = comm.broadcast(int(np.random.randint(2**31)) if seed is None else int(seed))

    pi, oldpi = build_policies(env, policy_fn, comm, seed)
    scaler = None
    adam = MpiAdam(pi.get_trainable_variables(), epsilon=adam_epsilon, comm=comm)
    parts = {"adam": adam}
    num_envs = getattr(env, "num_envs", 1)
    if settings.scale_returns:
        scaler = parts["returns"] = ReturnScaler(num_envs, gamma, comm)
    evaluate = SegmentEvaluator(pi, oldpi, timesteps_per_actorbatch, num_envs)
    update = PPOUpdate(pi, adam, evaluate, settings, averaging)
    training = Training(env, pi, oldpi, horizon=timesteps_per_actorbatch, limits=limits, seed=seed, comm=comm, parts=parts,
                        synced=lambda: adam.check_synced(*(x for part in (pi.ob_rms, scaler) if part for x in part.state().values())),
                        callback=callback, compile_ahead=(evaluate.compile, update.compile), logger=logger, folder=folder,
                        checkpoint_every=checkpoint_every)
    adam.sync()
    if checkpoint is not None:
        training.restore(checkpoint)
    if on_start is not None:
        on_start(training)

    for _ in training.iterations():
        seg = training.collect()                                        # run pi_old for T steps in every environment
        if scaler is not None:
            scaler(seg)
        evaluate(seg)                                                   # oldpi <- pi; V(s_t), and oldpi's parameters at s_t
        add_vtarg_and_adv(seg, gamma, lam)                              # A_1 ... A_T by GAE
        terms = update(seg, training.minibatch_rng(), training.progress)  # K epochs of minibatches of the surrogate L
        training.finish(seg, terms)                                     # statistics, log, checkpoint
    return pi


def build_policies(env, policy_fn, comm, seed):
    """(pi, oldpi) for an environment: initialised from the seed, with an observation filter over all ranks.

    Raises:
        UserError: if `policy_fn` builds something that is no policy of this package.
    """
    spaces = [getattr(env, f"single_{name}", None) or getattr(env, name, None) for name in ("observation_space", "action_space")]
    if None in spaces:
        raise UserError(f"env is a {type(env).__name__} without observation_space and action_space; build it with gymnasium.make(...)")
    policies = [policy_fn(name, *spaces) for name in ("pi", "oldpi")]
    for policy in policies:
        if not (hasattr(policy, "forward") and hasattr(policy, "encoder")):
            raise UserError(f"policy_fn returned a {type(policy).__name__}, which has no forward(ob); derive it from baselines_ppo.Policy "
                            "(a policy of TensorFlow 1, with placeholders and a session, must be rewritten as in the migration table)")
        if policy.recurrent:
            raise UserError(f"{type(policy).__name__} is recurrent; minibatches of single steps cannot train it")
    if hasattr(policies[0], "initialise"):
        policies[0].initialise(seeding.generator(seed, seeding.INITIALISE))
    for policy in policies:
        if policy.ob_rms is not None:
            policy.ob_rms.comm = comm
    return policies


def ppo_losses(pi, settings):
    """The loss of a minibatch, -(L^CLIP - c1 L^VF + c2 S): Schulman et al. 2017, eq. 9, with what Baselines logs of it.

    Returns:
        A function (minibatch, weights [B], scalars [clip_param]) -> (loss, terms as in `TERMS`), where `minibatch` holds `x`, `ac`,
        `flatparam` (oldpi's), `vpred` (oldpi's), `atarg`, `ret`; weights sum to 1 over all ranks' rows.
    """
    def losses(batch, weights, scalars):
        def mean(values):
            return tf.reduce_sum(weights * values)

        clip_param = scalars[0]
        flat, vpred = pi.forward(batch["x"])
        pd, oldpd = pi.pdtype.pdfromflat(flat), pi.pdtype.pdfromflat(batch["flatparam"])
        ratio = probability_ratio(pd.logp(batch["ac"]), oldpd.logp(batch["ac"]))
        pol_surr = -mean(clipped_surrogate(ratio, batch["atarg"], clip_param))
        vf_loss = mean(value_loss(vpred, batch["ret"]) if settings.vf_clip is None
                       else clipped_value_loss(vpred, batch["vpred"], batch["ret"], settings.vf_clip))
        ent = mean(pd.entropy())
        pol_entpen = -settings.entcoeff * ent
        loss = pol_surr + pol_entpen + settings.vf_coef * vf_loss
        kl = mean(oldpd.kl(pd))
        return loss, tf.stack([pol_surr, pol_entpen, vf_loss, kl, ent, mean(clipped(ratio, clip_param))])
    return losses


class PPOUpdate:
    """K epochs of minibatches over a segment.

    Args:
        pi: the policy to move.
        adam: its `MpiAdam`.
        evaluate: the `SegmentEvaluator`, for advantages recomputed between epochs.
        settings: `PPOSettings`.
        averaging: 'gather', 'average' or 'auto'.

    Attributes:
        minibatch_terms: [M, len(TERMS)] of the last iteration's minibatches, each before its step, the mean over ranks.
    """

    def __init__(self, pi, adam, evaluate, settings, averaging="auto"):
        batch_size = settings.optim_batchsize or settings.timesteps_per_actorbatch
        if averaging == "auto":
            averaging = choose_strategy(adam.comm.size, adam.size, batch_size)
        elif averaging not in ("gather", "average"):
            raise UserError(f"averaging={averaging!r}; choose one of auto, gather, average")
        self.pi, self.settings, self.comm, self.evaluate, self.averaging = pi, settings, adam.comm, evaluate, averaging
        self.batch_size = batch_size
        self.descent = MinibatchDescent(ppo_losses(pi, settings), len(TERMS), adam, settings.max_grad_norm, pi.xla, averaging)
        self.one_by_one = settings.recompute_adv or settings.target_kl is not None
        self.room = (1 if self.one_by_one else settings.optim_epochs) * (settings.timesteps_per_actorbatch // batch_size)
        self.minibatch_terms = None

    def compile(self):
        """Compile ahead of the first segment; nothing moves."""
        x, pdtype = self.evaluate.blank(), self.pi.pdtype
        rows = len(x)
        batch = {"x": x, "ac": np.zeros((rows, *pdtype.sample_shape()), pdtype.sample_dtype().as_numpy_dtype),
                 "flatparam": np.zeros((rows, *pdtype.param_shape()), np.float32)}
        self.descent.compile(batch | {name: np.zeros(rows, np.float32) for name in ("vpred", "atarg", "ret")}, self.batch_size, [1.0], self.room)

    def __call__(self, seg, rng, progress):
        """Optimise on one segment.

        Args:
            seg: this rank's segment, evaluated, with advantages.
            rng: generator that shuffles the minibatches.
            progress: how much of the run is done, 0 to 1, for the schedules.

        Returns:
            {name: number}: `TERMS` over the whole segment after the last epoch, and the step size; the mean over ranks.
        """
        s = self.settings
        stepsize = s.optim_stepsize * (1 - progress if s.schedule == "linear" else 1.0)
        scalars = [s.clip_param * (1 - progress if s.clip_schedule == "linear" else 1.0)]
        valid = seg["valid"].reshape(-1)
        count = self.comm.minimum(minibatches_per_epoch(valid, s.optim_batchsize))
        batch = self._batch(seg, valid)
        minibatch_terms = []
        for epoch in range(s.optim_epochs if self.one_by_one else 1):
            if s.recompute_adv and epoch > 0:
                self.evaluate.values_again(seg)
                add_vtarg_and_adv(seg, s.gamma, s.lam)
                batch = self._batch(seg, valid)
            indices, weights = plan_minibatches(rng, valid, s.optim_batchsize, 1 if self.one_by_one else s.optim_epochs, count)
            terms = self.descent.sweep(batch, indices, weights, stepsize, scalars, self.room)
            minibatch_terms.append(terms)
            if s.target_kl is not None and terms[:, TERMS.index("loss_kl")].mean() > 1.5 * s.target_kl:
                break
        self.minibatch_terms = np.concatenate(minibatch_terms)
        after = self.descent.evaluate(batch, valid / np.float32(valid.sum()), scalars)
        return dict(zip(TERMS, after.tolist())) | {"stepsize": stepsize}

    def _batch(self, seg, valid):
        atarg = seg["adv"].reshape(-1)
        if self.settings.standardise_adv:
            atarg = standardise(atarg, valid)
        rows = len(valid)
        return {"x": seg["x"], "ac": seg["ac"].reshape(rows, *seg["ac"].shape[2:]), "flatparam": seg["flatparam"],
                "vpred": seg["vpred"].reshape(-1), "atarg": atarg, "ret": seg["tdlamret"].reshape(-1)}
