"""What every `learn` needs around its update: settings checked, policies built, the segment's evaluation, the training that drives it."""

import copy
import logging
from dataclasses import fields

import numpy as np
from gymnasium.vector import AutoresetMode

from baselines_ppo.experiment import recording
from baselines_ppo.experiment.interrupts import in_good_order
from baselines_ppo.experiment.warm_start import load_weights_into
from common import compilation, seeding
from common.distributed import communicator
from common.envs.normalization_wrappers import in_words, running_statistics
from common.errors import UserError
from common.formatting import safe_repr, truncate
from common.optim.minibatch_optimizer import choose_averaging
from common.policies.files import check_describable, spaces_in_words, unlike
from common.rollouts.processor import SegmentProcessor
from common.rollouts.return_scaling import RewardNormalizer
from common.storage.paths import user_path
from common.training.loop import TrainingLoop
from common.validation import check_bool, check_choice, check_int_argument
from common.vec_env.vector_env_checker import layout_of

# What `learn` of every algorithm takes beside its settings:
# comm: the ranks; all of the job if None.
# averaging: 'gather', 'average' (see `common.optim.minibatch_optimizer`) or 'auto', by ranks, batch and network.
# logger, folder, checkpoint, checkpoint_every: where to log and to write checkpoints, and where to go on from (`common.training.loop`).
# load_path: a trained policy's, to start from where there is no checkpoint (`warm_start`).
# on_start: function (`TrainingLoop`, `AlgorithmSetup`), called once before the first step.
# heartbeat: this rank's `common.distributed.heartbeat.Heartbeat`.
# env_threads: threads that step this rank's environments (`common.rollouts.collector.Collector`).
# run_dir: the run's folder, for plot, report and load_policy; progress: whether to show the live view, or lines where there is no terminal
#   (`recording`). What rank 0 gives counts.
RunOptions = {
    "comm": None,
    "averaging": "auto",
    "logger": None,
    "folder": None,
    "checkpoint": None,
    "checkpoint_every": 25,
    "load_path": None,
    "on_start": None,
    "env_threads": 1,
    "heartbeat": None,
    "run_dir": None,
    "progress": False,
}


class AlgorithmSetup:
    """One call of a `learn`.

    Args:
        settings_class: of the algorithm.
        given: {name: value} of the settings that `learn` names.
        options: its other keyword arguments: further settings, and `RunOptions`.
        limits: `StopCriteria`.
        env, policy_fn, seed, callback: as `learn` takes them.

    Attributes:
        settings: checked.
        recorded: whether the run has a folder of its own making, or is shown.
        pi, oldpi: the policies, the same on all ranks.
        evaluate: the `SegmentProcessor`.
        comm, seed, averaging, num_envs: the ranks, the run's seed, the way to average, environments of this rank.
        strategies: {what is optimised: 'gather' or 'average'}, as `averaging` comes to, for the run's config.json.

    Raises:
        UserError: for any setting, space or environment that cannot be.
    """

    def __init__(self, settings_class, given, options, limits, env, policy_fn, seed, callback):
        run = {name: options.pop(name, default) for name, default in RunOptions.items()}
        if unknown := options.keys() - {one.name for one in fields(settings_class)}:
            raise UserError(
                f"learn() does not take {', '.join(sorted(unknown))}; {settings_class.__name__} lists its settings"
            )
        self.settings = settings_class(**given, **options)
        self.settings.check()
        self.settings.check_with(limits)
        check_run_options(run)
        if seed is not None:
            seed = check_int_argument("seed", seed)
        self.averaging, self.comm = run["averaging"], run["comm"] or communicator.world()
        self.comm.barrier()  # in which a rank sleeps, and notices if another never comes; in a broadcast it could not
        run["run_dir"], run["progress"] = self.comm.run_on_root(
            lambda: (
                run["run_dir"] if run["run_dir"] is None else user_path(run["run_dir"], "run_dir"),
                run["progress"],
            )
        )
        self.recorded = run["run_dir"] is not None or run["progress"]
        if self.recorded:
            recording.check(run, self.comm)
        self.env = env if run["run_dir"] is None else recording.monitored(env)
        self.limits, self.callback, self.run = limits, callback, run
        self.seed = self.comm.broadcast(int(np.random.randint(2**31)) if seed is None else seed)
        if seed is None and self.comm.rank == 0:
            logging.getLogger("baselines_ppo").info("learn: no seed was given; this run has seed=%d", self.seed)
        self.pi, self.oldpi = build_policies(env, policy_fn, self.comm, self.seed)
        if (
            self.comm.rank == 0 and run["folder"] is None and (found := running_statistics(env))
        ):  # who brings a folder has said so in words of his own
            logging.getLogger("baselines_ppo").warning(
                "learn: %s", in_words(found, {"observations": "normalise_ob=True", "rewards": "scale_returns=True"})
            )
        self.num_envs, self.horizon = layout_of(env).num_envs, getattr(self.settings, self.settings.counts()[0])
        self.pi.pdtype.pdfromflat(
            np.zeros((1, *self.pi.pdtype.param_shape()), np.float32)
        )  # what it needs is imported here, in no thread that compiles
        self.settings.check_for(self.num_envs)
        compilation.forget_edited()
        self.evaluate = SegmentProcessor(self.pi, self.oldpi, self.horizon, self.num_envs)
        self.scaler = (
            RewardNormalizer(self.num_envs, self.settings.gamma, self.comm) if self.settings.scale_returns else None
        )
        self.strategies = {}

    def strategy(self, what, parameters, rows):
        """How the gradients of `what` are averaged, 'gather' or 'average', by its parameters and the rows of a minibatch; kept in `strategies`."""
        self.strategies[what] = (
            choose_averaging(self.comm.size, parameters, rows) if self.averaging == "auto" else self.averaging
        )
        return self.strategies[what]

    def scale(self, seg):
        """Scale a segment's rewards, if that is asked for."""
        if self.scaler is not None:
            self.scaler(seg)

    def training(self, update):
        """The context of the `TrainingLoop` that drives `update`, as `begin` gives it: recorded, where that is asked for (`recording.recorded`), and ended in
        good order by Ctrl-C (`interrupts.in_good_order`)."""
        training = self.begin(update)
        return in_good_order(
            training,
            recording.recorded(training, self, self.run["run_dir"], self.run["progress"])
            if self.recorded
            else training,
        )

    def begin(self, update):
        """The `TrainingLoop` that drives `update`: resumed where there is a checkpoint to go on from.

        Args:
            update: has `parts()`, {name: object with `state`, `restore` and, if its numbers start by chance, `sync`}, and `compile_ahead()`.
        """
        parts, run = update.parts() | ({"returns": self.scaler} if self.scaler else {}), self.run

        training = TrainingLoop(
            self.env,
            self.pi,
            self.oldpi,
            horizon=self.horizon,
            limits=self.limits,
            seed=self.seed,
            comm=self.comm,
            parts=parts,
            callback=self.callback,
            compile_ahead=(self.evaluate.compile, *update.compile_ahead()),
            whole_episodes=getattr(self.settings, "whole_episodes", False),
            bootstrap_time_limits=self.settings.bootstrap_time_limits,
            **{name: run[name] for name in ("logger", "folder", "checkpoint_every", "env_threads", "heartbeat")},
        )
        self.comm.barrier()
        for x in self.pi.get_variables():
            x.assign(self.comm.broadcast_array(np.array(x.numpy())))  # a scalar's number is no array, and read-only
        if self.pi.ob_rms is not None:
            self.pi.ob_rms.restore(self.comm.broadcast(self.pi.ob_rms.state()))
        if run["checkpoint"] is not None:
            training.restore(run["checkpoint"])
        elif run["load_path"] is not None:
            load_weights_into(run["load_path"], self.pi, self.comm)
        self._say_how_far(training)
        if run["on_start"] is not None:
            run["on_start"](training, self)
        return training

    def _say_how_far(self, training):
        """Log what is no matter of course: how many steps the run becomes in whole iterations; that it has nothing left to do."""
        log, limits, per_iteration, collector = (
            logging.getLogger("baselines_ppo"),
            self.limits,
            self.horizon * self.comm.size,
            training.collector,
        )
        if self.comm.rank > 0:
            return
        is_known = (
            not collector.whole_episodes and collector.stepper.mode is not AutoresetMode.NEXT_STEP
        )  # else an iteration's steps are not known yet
        if (
            limits.progress(
                training.timesteps_so_far, training.episodes_so_far, training.iters_so_far, training.elapsed_before
            )
            >= 1
        ):
            log.info("learn: the checkpoint is of a run that has come to its limit, %s; nothing is left to do", limits)
        elif (
            limits.max_timesteps
            and is_known
            and (end := limits.rounded_up(training.timesteps_so_far, per_iteration)) != limits.max_timesteps
        ):
            log.info(
                "learn: max_timesteps=%s becomes %s: iterations are whole, of %s steps",
                limits.max_timesteps,
                end,
                per_iteration,
            )


def check_run_options(run):
    """Check `RunOptions`, {name: value}, in place: numbers become Python's own. UserError for the first that cannot be."""
    check_choice("averaging", run["averaging"], ("auto", "gather", "average"))
    for name in ("checkpoint_every", "env_threads"):
        run[name] = check_int_argument(name, run[name], 1)
    run["progress"] = check_bool("progress", run["progress"])
    if run["load_path"] is not None:
        user_path(run["load_path"], "load_path")
    if run["comm"] is not None and not isinstance(run["comm"], communicator.Communicator):
        raise UserError(
            f"comm={safe_repr(run['comm'])} cannot be; leave it out, for all ranks of the job, or give a common.distributed.communicator.Communicator"
        )


def build_policies(env, policy_fn, comm, seed):
    """(pi, oldpi) for an environment, with an observation filter over all ranks. A pi as its constructor leaves it is initialised from the seed; weights
    and filter of one that was loaded, trained or assigned stay, and oldpi is a copy of it.

    Raises:
        UserError: if `policy_fn` gives something that is no policy of this package, one for other spaces, or one that no file could describe.
    """
    layout = layout_of(env)
    ob_space, ac_space = layout.ob_space, layout.ac_space
    if not callable(policy_fn):
        raise UserError(
            f"policy_fn={safe_repr(policy_fn)} is no function (name, ob_space, ac_space) -> policy; give one, such as baselines_ppo.MlpPolicy"
        )
    policies = [policy_fn(name, ob_space, ac_space) for name in ("pi", "oldpi")]
    for policy in policies:
        if not (hasattr(policy, "forward") and hasattr(policy, "encoder")):
            raise UserError(
                f"policy_fn returned a {type(policy).__name__}, which has no forward(ob); derive it from baselines_ppo.Policy "
                "(a policy of TensorFlow 1, with placeholders and a session, must be rewritten as in the migration table)"
            )
        if policy.recurrent:
            raise UserError(f"{type(policy).__name__} is recurrent; minibatches of single steps cannot train it")
    pi, oldpi = policies
    if what := unlike(pi, ob_space, ac_space, bounds=False):
        raise UserError(
            f"policy_fn returned a policy for {spaces_in_words(pi.ob_space, pi.ac_space)}; env has {spaces_in_words(ob_space, ac_space)}: {what}; "
            "build it with the spaces that policy_fn is given"
        )
    check_describable(pi)
    fresh = [getattr(policy, "is_untouched", lambda: True)() for policy in policies]
    if oldpi is pi or not all(fresh):  # what the caller has brought changes as pi alone
        oldpi = copied(pi)
    if fresh[0] and hasattr(pi, "initialise"):
        pi.initialise(seeding.generator(seed, seeding.INITIALISE))
    elif comm.rank == 0 and not fresh[0]:
        logging.getLogger("baselines_ppo").info(
            "learn: policy_fn brings weights of its own, which are kept; the seed does not draw them"
        )
    for policy in (pi, oldpi):
        if policy.ob_rms is not None:
            policy.ob_rms.comm = comm
    return pi, oldpi


def copied(pi):
    """A copy of a policy that `policy_fn` has brought. UserError if its class cannot be copied."""
    try:
        return copy.deepcopy(pi)
    except Exception as error:  # whatever an attribute of a user's own class raises
        raise UserError(
            f"policy_fn brings a {type(pi).__name__} that cannot be copied for oldpi ({type(error).__name__}: {truncate(str(error))}); "
            "give the class a __getstate__ that leaves out what cannot be"
        ) from error
