"""Settings of a run: environment, length, parallelism and output. Imports no TensorFlow."""

from dataclasses import dataclass
from typing import Any

from baselines_ppo.config.policy_settings import BASELINES_NETWORKS, POLICIES
from baselines_ppo.config.presets import PRESETS
from baselines_ppo.config.setting_fields import Search, SettingsBase, setting
from baselines_ppo.config.settings import ALGORITHMS
from common.errors import UserError
from common.training.stopping import StopCriteria

QUIET_RUNS = "the runs of a sweep are quiet; leave it out"


def _length(default: int | None, doc: str, **details: Any) -> Any:
    """Return the field of a limit: a resume may change it, and plots compare runs of different lengths."""
    return setting(default, doc, group="length", on_resume="free", identity=False, **details)


def _output(default: Any, doc: str, **details: Any) -> Any:
    """Return the field of a setting that changes what is written or shown, but not the training."""
    return setting(default, doc, group="output", on_resume="free", identity=False, separates_curves=False, **details)


def _cores(doc: str, **details: Any) -> Any:
    """Return the field of a number of processes or threads that is chosen from the number of cores."""
    return setting(
        None,
        doc,
        group="parallelism",
        upper=1000,
        identity=False,
        separates_curves=False,
        machine_dependent=True,
        **details,
    )


@dataclass(frozen=True)
class RunSettings(SettingsBase):
    """Settings of a run: environment, length, parallelism and output. Counts are per rank."""

    env: str | None = setting(
        None,
        "Gymnasium id of the environment, such as Hopper-v4",
        group="environment",
        separates_curves=False,
        unset="must be given",
    )
    preset: str | None = setting(
        None,
        "named set of settings to start from",
        group="environment",
        choices=tuple(PRESETS),
        determines_others=True,
        unset="chosen by algorithm and kind of environment",
    )
    policy: str | None = setting(
        None,
        "policy network; auto: by the observations; names of Baselines' networks stand for mlp or cnn with a memory",
        group="environment",
        choices=("auto", *POLICIES, *BASELINES_NETWORKS),
        aliases=("network",),
        unset="auto: cnn for images, mixed for a Dict or Tuple with images, else mlp",
    )
    alg: str | None = setting(
        None,
        "algorithm; vpg is REINFORCE or A2C",
        group="environment",
        choices=tuple(ALGORITHMS),
        determines_others=True,
        unset="the preset's, or ppo",
    )
    num_timesteps: int | None = _length(
        None, "environment steps, in total over all ranks", unset="the preset's, if no other limit is given"
    )
    max_episodes: int = _length(
        0, "stop after this many episodes, in total over all ranks, instead of --num-timesteps; 0: not used"
    )
    max_iters: int = _length(0, "stop after this many iterations instead of --num-timesteps; 0: not used")
    max_seconds: float = _length(
        0, "stop after this many seconds, over all resumes, instead of --num-timesteps; 0: not used"
    )
    seed: int = setting(
        0, "seed of all random numbers", group="environment", allowed="nonnegative", separates_curves=False
    )
    load_path: str | None = setting(
        None,
        "start from the weights and observation filter of this policy: a run directory (of several, the latest), a "
        "checkpoint, a policy directory or a policy file; with --play: the policy to run",
        group="environment",
        is_path=True,
    )
    demonstrations: str | None = setting(
        None,
        "clone the policy from these demonstrations before the training: a .npz file, or minari: and the id of a "
        "Minari data set",
        group="environment",
        is_path=True,
    )
    demonstration_epochs: int = setting(
        20,
        "largest number of epochs over the demonstrations; they end early when the validation steps no longer improve",
        group="environment",
        allowed="count",
    )
    demonstration_stepsize: float = setting(
        1e-3, "learning rate of Adam in the epochs over the demonstrations", group="environment", allowed="positive"
    )
    num_envs: int | None = setting(
        None,
        "environments per rank",
        group="parallelism",
        allowed="count",
        upper=10**5,
        aliases=("num_env",),
        unset="the preset's total, split over the ranks",
        search=Search(choices=(1, 2, 4, 8, 16)),
    )
    env_workers: int | None = _cores(
        "processes per rank that step its environments; 0: the rank itself",
        allowed="nonnegative",
        unset="the rank's cores for Atari, else 0",
    )
    env_threads: int | None = _cores(
        "threads per rank that step its environments",
        allowed="count",
        unset="the rank's cores for MuJoCo, else 1",
    )
    stagger: bool = setting(
        False,
        "end the first episode of each environment early, each at a different step, at the start of a run and after "
        "each checkpoint; without it, environments with a time limit stay in lockstep",
        group="parallelism",
    )
    batch: str | None = setting(
        None,
        "how to read the number of steps of a rollout and of samples of a minibatch: total = summed over all ranks, "
        "per-rank = for each rank",
        group="parallelism",
        choices=("total", "per-rank"),
        unset="total",
    )
    averaging: str = setting(
        "auto",
        "averaging of gradients over ranks: gather (rank 0 computes the update), average (all-reduce for each "
        "minibatch), or auto (the faster one)",
        group="parallelism",
        choices=("auto", "gather", "average"),
    )
    env_kwargs: dict[str, Any] | None = setting(
        None, "keyword arguments of gymnasium.make, as a JSON object", group="environment"
    )
    action_masks: bool | None = setting(
        None,
        "put the environment's masks of valid actions into the observations, so that the policy takes no invalid "
        "action; true: it is an error if the environment gives none",
        group="environment",
        unset="true if the environment gives masks",
        before=False,
    )
    reward_scale: float = setting(
        1.0,
        "multiply the rewards used for training by this; logs keep the environment's rewards",
        group="environment",
        allowed="finite",
        lower=-1e30,
        upper=1e30,
    )
    checkpoint_every: int = setting(
        25, "iterations between checkpoints; each checkpoint truncates all episodes", group="output", allowed="count"
    )
    keep_checkpoints: int = _output(3, "number of checkpoints to keep; older ones are deleted", allowed="count")
    run_dir: str | None = _output(
        None,
        "directory of the run",
        is_path=True,
        aliases=("log_path",),
        not_swept="a sweep names the directories of its runs; use --sweep-dir",
        run_local=True,
        unset="ENV/TIME-seedSEED in $BASELINES_PPO_RUNS, or in runs",
    )
    log_interval: float = _output(
        10.0,
        "seconds between lines of progress without a terminal",
        allowed="duration",
        not_swept=QUIET_RUNS,
        run_local=True,
    )
    quiet: bool = _output(False, "print errors only", not_swept=QUIET_RUNS, run_local=True)
    stall_timeout: float = _output(
        1800.0,
        "seconds without progress on a rank after which the job is aborted and reports where it stalled; 0: never",
        allowed="duration",
    )
    save_policy: str | None = _output(
        None,
        "also write the final policy to this file",
        is_path=True,
        aliases=("save_path",),
        not_swept="all runs would write the same file; each run has its own policy/policy.safetensors",
        run_local=True,
    )
    eval_every: int = _output(
        0,
        "iterations between evaluations of the deterministic policy, of which the best is kept; 0: no evaluation",
        allowed="nonnegative",
    )
    eval_episodes: int = _output(10, "episodes of an evaluation, and of --play", allowed="count", upper=10**6)
    histograms: bool = _output(
        False, "write TensorBoard histograms of weights, actions and advantages at every checkpoint"
    )
    report: bool = _output(True, "draw curve.png and report.html at the end")
    film: bool = _output(False, "record a video of one episode of the final policy for the report and TensorBoard")

    def stop_criteria(self) -> StopCriteria:
        """Return the limits of the run.

        Raises:
            UserError: unless exactly one limit is given, and positive; it names the limits like the command line.
        """
        limits = StopCriteria(
            self.num_timesteps or 0, self.max_episodes or 0, self.max_iters or 0, self.max_seconds or 0
        )
        try:
            limits.validate()
        except UserError as error:
            raise UserError(str(error).replace("max_timesteps", "num_timesteps")) from error
        return limits
