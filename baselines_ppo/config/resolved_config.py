"""All settings of one run as one object, and its form in config.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from baselines_ppo.config.policy_settings import POLICIES, PolicySettings, values_before
from baselines_ppo.config.registry import POLICY_SETTINGS, SETTINGS
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.setting_fields import defaults_of
from baselines_ppo.config.settings import ALGORITHMS, AlgorithmSettings
from common.errors import UserError
from common.validation import check_int


@dataclass(frozen=True)
class ResolvedConfig:
    """All settings of a run. Counts are per rank.

    Attributes:
        run: what to run, for how long, and what to write.
        algorithm: settings of the algorithm.
        policy: settings of the policy; a mapping for a custom policy.
        explicit: {setting: value} of those that the user gave, as config.json stores them in "typed".
        lost_env_kwargs: {name: type} of environment arguments that JSON cannot represent.
    """

    run: RunSettings
    algorithm: AlgorithmSettings
    policy: PolicySettings | Mapping[str, Any]
    explicit: dict[str, Any] = field(default_factory=dict)
    lost_env_kwargs: dict[str, str] = field(default_factory=dict)

    @property
    def policy_kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the policy."""
        return dict(self.policy) if isinstance(self.policy, Mapping) else asdict(self.policy)

    @property
    def rollout_steps(self) -> int:
        """Steps of one rollout, over all environments of a rank."""
        steps: int = getattr(self.algorithm, self.algorithm.counts()[0])
        return steps

    @property
    def minibatch_samples(self) -> int | None:
        """Samples of a minibatch, per rank; None for the whole rollout."""
        samples: int | None = getattr(self.algorithm, self.algorithm.counts()[1])
        return samples

    def check(self) -> None:
        """Raise UserError for the first setting that is invalid, alone or in combination with others."""
        self.run.check()
        self.algorithm.check()
        self.algorithm.check_with(self.run.stop_criteria())
        self.algorithm.check_for(check_int("num_envs", self.run.num_envs, 1))
        if not isinstance(self.policy, Mapping):
            self.policy.check()

    def with_run(self, **changes: Any) -> ResolvedConfig:
        """Return a copy with other settings of the run."""
        return replace(self, run=replace(self.run, **changes))

    def with_policy(self, settings: Mapping[str, Any]) -> ResolvedConfig:
        """Return a copy with the settings of a policy that has been built."""
        policy = settings if isinstance(self.policy, Mapping) else type(self.policy)(**settings)
        return replace(self, policy=policy)

    def values(self) -> dict[str, Any]:
        """Return {setting: value} of the run's and the algorithm's settings, without those of the policy."""
        return vars(self.run) | vars(self.algorithm)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as config.json stores them: one dict, with the policy's in "policy_settings"."""
        lost = {"env_kwargs_lost": self.lost_env_kwargs} if self.lost_env_kwargs else {}
        return vars(self.run) | lost | vars(self.algorithm) | {"policy_settings": self.policy_kwargs}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], explicit: Mapping[str, Any] | None = None) -> ResolvedConfig:
        """Return the config of an earlier run, from the settings in its config.json.

        Settings that did not exist when the run was started are filled in (`fill_missing_settings`).
        """
        values = fill_missing_settings(settings)
        policy_class = POLICIES[values["policy"]]
        policy_values = values_before(policy_class) | values.get("policy_settings", {})
        check_policy_names(policy_values, values["policy"])
        algorithm_class = ALGORITHMS[values["alg"]]
        return cls(
            RunSettings(**{name: values.get(name, default) for name, default in defaults_of(RunSettings).items()}),
            algorithm_class(**{name: values[name] for name in defaults_of(algorithm_class)}),
            policy_class(**policy_values),
            dict(explicit or {}),
        )


def check_policy_names(names: Iterable[str], policy: str) -> None:
    """Raise UserError if one of `names` is a setting of another policy than `policy`, mlp or cnn."""
    for name in names:
        if name in POLICY_SETTINGS and policy not in SETTINGS[name].defaults:
            raise UserError(
                f"{SETTINGS[name].flag} is not a setting of the {policy} policy; leave it out, or change --policy"
            )


def to_total_counts(settings: Mapping[str, Any], ranks: int) -> dict[str, Any]:
    """Return a run's settings with counts as the command line gives them: totals over ranks if `batch` is total."""
    names = ALGORITHMS[settings["alg"]].counts() if settings["batch"] == "total" else ()
    return dict(settings) | {name: settings[name] * ranks for name in names if settings[name] is not None}


def fill_missing_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in settings that an older run's config.json lacks, with defaults instead of the current preset's values.

    Machine-dependent settings (such as `env_threads`) and policy settings are not filled in.
    """
    run = {name: default for name, default in defaults_of(RunSettings).items() if default is not None}
    run |= values_before(RunSettings)
    return run | defaults_of(ALGORITHMS[settings["alg"]]) | dict(settings)
