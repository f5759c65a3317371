"""Settings of the algorithms: every setting of every `learn`, checked before the first step. Imports no TensorFlow."""

from dataclasses import dataclass

from baselines_ppo.config.common_settings import Settings
from baselines_ppo.config.setting_fields import Search, setting, setting_like
from common.errors import UserError

SCHEDULES = ("constant", "linear")
ROLLOUTS = Search(choices=(512, 1024, 2048, 4096))
PPO = ("ppo",)
TRPO = ("trpo",)


# names of the objectives; `objectives.OBJECTIVES` has a function for each, which needs TensorFlow
SURROGATES = (
    "clip",
    "adaptive_kl",
    "fixed_kl",
    "unclipped",
)
OBJECTIVE_NAMES = list(SURROGATES)  # and those of `objectives.register_objective`


@dataclass(frozen=True)
class PPOSettings(Settings):
    """Settings of PPO. Defaults are the settings of 2017.

    docs/reference/settings.md has the meaning, unit and default of each field.

    Raises:
        UserError: for a number or bool of another type that cannot be converted without loss. `learn` also refuses
            values out of range, and settings that contradict each other.
    """

    objective: str = setting("clip", "surrogate objective", group="objective", choices=OBJECTIVE_NAMES)
    timesteps_per_actorbatch: int = setting(
        2048,
        "steps of one rollout, over all environments",
        group="parallelism",
        allowed="count",
        per_rank="steps",
        search=ROLLOUTS,
    )
    clip_param: float = setting(
        0.2,
        "epsilon of the clipped surrogate",
        group="objective",
        allowed="positive",
        schedule="clip_schedule",
        search=Search(0.1, 0.4, default_for=PPO),
    )
    beta: float = setting(
        1.0,
        "coefficient of the KL penalty; its initial value with objective adaptive_kl",
        group="objective",
        allowed="positive",
        search=Search(0.1, 10.0, log=True, default_for=PPO),
    )
    kl_target: float = setting(
        0.01,
        "adaptive_kl: beta is halved if the KL is below 1/1.5 of this, and doubled if it is above 1.5 times this",
        group="objective",
        allowed="positive",
        search=Search(3e-3, 0.05, log=True, default_for=PPO),
    )
    kl_min: float | None = setting(
        None,
        "adaptive_kl: halve beta below this KL",
        group="objective",
        allowed="positive",
        unset="kl_target / 1.5",
    )
    kl_max: float | None = setting(
        None, "adaptive_kl: double beta above this KL", group="objective", allowed="positive", unset="1.5 kl_target"
    )
    optim_epochs: int = setting(
        10, "epochs of one iteration", group="parallelism", allowed="count", search=Search(3, 20, default_for=PPO)
    )
    optim_stepsize: float = setting(
        3e-4,
        "learning rate of Adam",
        group="optimizer",
        allowed="positive",
        schedule="schedule",
        search=Search(3e-5, 1e-2, log=True, default_for=("ppo", "vpg")),
    )
    optim_batchsize: int | None = setting(
        64,
        "samples of a minibatch; none: the whole rollout",
        group="parallelism",
        allowed="count",
        per_rank="samples",
        search=Search(choices=(32, 64, 128, 256, 512), default_for=PPO),
    )
    vf_stepsize: float | None = setting(
        None,
        "learning rate of the value function. ppo: for variables that only the value function uses, none: as "
        "optim_stepsize. trpo, vpg: for its separate fit",
        group="optimizer",
        allowed="positive",
        search=Search(1e-4, 1e-2, log=True, default_for=("trpo", "vpg")),
    )
    vf_iters: int = setting(
        0,
        "epochs of the separate value-function fit per iteration; ppo, vpg: 0 = update it together with the policy",
        group="trpo_vpg",
        allowed="nonnegative",
        search=Search(1, 20, default_for=TRPO),
    )
    adam_epsilon: float = setting(
        1e-5, "epsilon of Adam", group="optimizer", allowed="positive", search=Search(1e-8, 1e-4, log=True)
    )
    schedule: str = setting(
        "constant", "learning rate during the run: constant, or linear to 0", group="optimizer", choices=SCHEDULES
    )
    clip_schedule: str = setting(
        "constant", "clip_param during the run: constant, or linear to 0", group="objective", choices=SCHEDULES
    )
    vf_coef: float = setting(
        1.0, "coefficient of the value loss", group="returns", allowed="nonnegative", search=Search(0.1, 1.0)
    )
    vf_clip: float | None = setting(
        None,
        "keep the new value within this distance of the old value; none: unlimited",
        group="returns",
        allowed="positive",
        search=Search(0.1, 10.0, log=True),
    )
    max_grad_norm: float | None = setting(
        None,
        "maximum norm of the gradient; none: unlimited",
        group="optimizer",
        allowed="positive",
        search=Search(0.3, 5.0, log=True),
    )
    target_kl: float | None = setting(
        None,
        "stop the epochs of an iteration when the mean KL of one exceeds 1.5 times this; none: never",
        group="objective",
        allowed="positive",
        search=Search(5e-3, 0.1, log=True),
    )
    standardise_adv: bool = setting(
        True,
        "scale advantages to mean 0 and standard deviation 1, on each rank",
        group="returns",
        aliases=("standardize_adv",),
    )
    recompute_adv: bool = setting(
        False, "recompute advantages and targets with the current value function before every epoch", group="returns"
    )

    def check(self) -> None:
        """Raise UserError for the first invalid value, and unless the two bounds of KL are given together, in order."""
        super().check()
        if self.recompute_adv and self.vf_iters:
            raise UserError(
                f"invalid recompute_adv=True with vf_iters={self.vf_iters}: a value function that is fitted separately "
                "does not change between epochs; leave one of them out"
            )
        low, high = self.kl_min, self.kl_max
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            raise UserError(
                f"invalid kl_min={low}, kl_max={high}: must both be given, with kl_min at most kl_max; "
                "or leave both out and give kl_target"
            )


@dataclass(frozen=True)
class TRPOSettings(Settings):
    """Settings of TRPO. Defaults are those of Baselines and its run_mujoco. Errors are those of `PPOSettings`."""

    timesteps_per_batch: int = setting(
        1024,
        "trpo: steps of one rollout, over all environments",
        group="trpo_vpg",
        allowed="count",
        per_rank="steps",
        search=ROLLOUTS,
    )
    max_kl: float = setting(
        0.01,
        "trpo: largest KL of one update (delta of the paper)",
        group="trpo_vpg",
        allowed="positive",
        search=Search(1e-3, 0.05, log=True, default_for=TRPO),
    )
    cg_iters: int = setting(
        10, "trpo: iterations of conjugate gradient", group="trpo_vpg", allowed="count", search=Search(5, 20)
    )
    cg_damping: float = setting(
        1e-2,
        "trpo: damping added to the diagonal of the Fisher matrix",
        group="trpo_vpg",
        allowed="nonnegative",
        search=Search(1e-3, 0.3, log=True, default_for=TRPO),
    )
    cg_stride: int = setting(5, "trpo: Fisher-vector products use every n-th sample", group="trpo_vpg", allowed="count")
    vf_stepsize: float = setting_like(PPOSettings, "vf_stepsize", 3e-4)
    vf_iters: int = setting_like(PPOSettings, "vf_iters", 3)
    vf_batchsize: int = setting(
        64,
        "trpo, vpg: samples of a minibatch of the separate value-function fit",
        group="trpo_vpg",
        allowed="count",
        per_rank="samples",
        search=Search(choices=(32, 64, 128, 256)),
    )
    lam: float = setting_like(Settings, "lam", 0.98)


@dataclass(frozen=True)
class VPGSettings(Settings):
    """Settings of policy gradients that use their data once. Defaults are REINFORCE with a learned baseline.

    Errors are those of `PPOSettings`.
    """

    timesteps_per_actorbatch: int = setting_like(PPOSettings, "timesteps_per_actorbatch", 2048)
    whole_episodes: bool = setting(
        True, "vpg: continue a rollout until its last episodes have ended; none is truncated", group="trpo_vpg"
    )
    baseline: str = setting(
        "value", "vpg: what is subtracted from returns", group="trpo_vpg", choices=("none", "mean", "value")
    )
    reward_to_go: bool = setting(
        True,
        "vpg: a step is credited with the rewards after it; false: with those of its whole episode",
        group="trpo_vpg",
    )
    lam: float = setting_like(Settings, "lam", 1.0)
    optim_stepsize: float = setting_like(PPOSettings, "optim_stepsize", 1e-2)
    adam_epsilon: float = setting_like(PPOSettings, "adam_epsilon", 1e-5)
    schedule: str = setting_like(PPOSettings, "schedule", "constant")
    vf_coef: float = setting_like(PPOSettings, "vf_coef", 0.5)
    vf_stepsize: float = setting_like(PPOSettings, "vf_stepsize", 1e-3)
    vf_iters: int = setting_like(TRPOSettings, "vf_iters", 5)
    vf_batchsize: int = setting_like(TRPOSettings, "vf_batchsize", 64)
    max_grad_norm: float | None = setting_like(PPOSettings, "max_grad_norm", None)
    standardise_adv: bool = setting_like(PPOSettings, "standardise_adv", True)

    def check(self) -> None:
        """Raise UserError for the first invalid value, and for settings that a baseline excludes."""
        super().check()
        if self.baseline == "none" and self.standardise_adv:
            raise UserError(
                "invalid baseline='none' with standardise_adv=True: standardising subtracts the mean, which is a "
                "baseline; set standardise_adv=False or baseline='mean'"
            )
        if self.baseline != "value" and self.lam != 1:
            raise UserError(
                f"invalid baseline={self.baseline!r} with lam={self.lam}: there is no value function to bootstrap "
                "from; set lam=1"
            )
        if self.baseline != "value" and not self.whole_episodes:
            raise UserError(
                f"invalid baseline={self.baseline!r} with whole_episodes=False: without a value function, the returns "
                "of truncated episodes are unknown; set whole_episodes=True"
            )
        if self.baseline == "value" and not self.reward_to_go:
            raise UserError(
                "invalid baseline='value' with reward_to_go=False: a value estimates the rewards to come; "
                "set baseline='mean' or 'none'"
            )


AlgorithmSettings = PPOSettings | TRPOSettings | VPGSettings
ALGORITHMS: dict[str, type[PPOSettings] | type[TRPOSettings] | type[VPGSettings]] = {
    "ppo": PPOSettings,
    "trpo": TRPOSettings,
    "vpg": VPGSettings,
}
