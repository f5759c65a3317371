"""Resolves the settings of a run from explicit settings, preset and defaults. Makes no environment and no policy.

"Explicit" settings are those that the user gave: on the command line, in a file for `--config`, or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from baselines_ppo.config.combinations import stagger_conflict
from baselines_ppo.config.common_settings import split_over_ranks
from baselines_ppo.config.policy_settings import BASELINES_NETWORKS, POLICIES
from baselines_ppo.config.presets import PRESETS, Preset, default_preset
from baselines_ppo.config.registry import POLICY_SETTINGS, SETTINGS, STOP_SETTINGS
from baselines_ppo.config.resolved_config import ResolvedConfig, check_policy_names
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.setting_fields import defaults_of
from baselines_ppo.config.settings import ALGORITHMS, AlgorithmSettings
from common.errors import UserError

AUTO = "auto"  # the policy by the observation space
PER_RUN = ("num_timesteps", "num_envs")  # a preset's values that depend on the other limits and on the ranks


def resolve(
    explicit: Mapping[str, Any],
    ranks: int,
    kind: str,
    env_id: str,
    suited: str,
    stored: Mapping[str, Any] | None = None,
) -> ResolvedConfig:
    """Resolve the settings of a run.

    Args:
        explicit: {setting: value} of the settings that the user gave, here and for an earlier run.
        ranks: number of ranks.
        kind: kind of the environment (`common.envs.factory.env_family`).
        env_id: Gymnasium id of the environment.
        suited: the policy for its observations, which is used unless the user chooses one.
        stored: what config.json stores as explicit; `explicit` if None.

    Returns:
        The config, without the settings that follow from the number of cores.

    Raises:
        UserError: for the first setting that is invalid, alone or in combination with others.
    """
    explicit = expand_network(explicit)
    name, preset = choose_preset(explicit, kind, env_id)
    policy_name = explicit.get("policy") or suited
    run = resolve_run(explicit, name, preset, policy_name)
    num_envs = run.num_envs
    if num_envs is None:
        num_envs = preset.num_envs if preset.per_rank else split_over_ranks(preset.num_envs, ranks)
        run = replace(run, num_envs=num_envs)
    algorithm = resolve_algorithm(explicit, preset, run.batch == "total", ranks, num_envs)
    algorithm.check_with(run.stop_criteria())
    if run.stagger and (conflict := stagger_conflict(algorithm)):
        if "stagger" in explicit:
            raise UserError(f"invalid --stagger with {conflict[0]}: {conflict[1]}; set --stagger false")
        run = replace(run, stagger=False)
    check_policy_names(explicit, policy_name)
    policy_values = preset.policy.get(policy_name, {}) | {
        key: explicit[key] for key in POLICY_SETTINGS if key in explicit
    }
    policy = POLICIES[policy_name](**policy_values)
    policy.check()
    return ResolvedConfig(run, algorithm, policy, dict(explicit if stored is None else stored))


def expand_network(explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Return explicit settings, with a network of Baselines, such as cnn_lstm, replaced by what it means, and without
    the policy auto, which is the default.

    Raises:
        UserError: if another setting contradicts the network.
    """
    given = dict(explicit)
    network = given.get("policy")
    if network == AUTO:
        del given["policy"]
    if network in BASELINES_NETWORKS:
        meant = BASELINES_NETWORKS[network]
        for name, value in meant.items():
            if name != "policy" and given.get(name, value) != value:
                raise UserError(f"--network {network} means {name}={value}, not {given[name]}; leave one of them out")
        given |= meant
    return given


def choose_preset(explicit: Mapping[str, Any], kind: str, env_id: str) -> tuple[str, Preset]:
    """Return the name and the preset of a run; arguments as for `resolve`."""
    alg = explicit.get("alg") or (PRESETS[explicit["preset"]].alg if "preset" in explicit else "ppo")
    name = explicit.get("preset") or default_preset(alg, kind, env_id)
    preset = PRESETS[name]
    if preset.alg != alg:
        raise UserError(f"--preset {name} is for --alg {preset.alg}, not {alg}; leave one of them out")
    return name, preset


def resolve_run(explicit: Mapping[str, Any], preset_name: str, preset: Preset, policy_name: str) -> RunSettings:
    """Return the run's settings: explicit ones, else the preset's, else defaults; arguments as for `resolve`."""
    values = defaults_of(RunSettings)
    values |= {name: value for name, value in preset.values().items() if name in values and name not in PER_RUN}
    values |= {"preset": preset_name, "policy": policy_name}
    values |= {name: value for name, value in explicit.items() if name in values}
    if not any(name in explicit for name in STOP_SETTINGS):
        values["num_timesteps"] = preset.num_timesteps
    run = RunSettings(**values)
    run.check()
    return run


def resolve_algorithm(
    explicit: Mapping[str, Any], preset: Preset, is_total: bool, ranks: int, num_envs: int
) -> AlgorithmSettings:
    """Return the algorithm's settings, counts per rank: explicit ones, else the preset's, else defaults.

    Args:
        explicit, preset, ranks: as for `resolve`.
        is_total: whether the counts of steps and samples are totals over ranks.
        num_envs: environments of one rank.
    """
    settings_class = ALGORITHMS[preset.alg]
    names = defaults_of(settings_class).keys()
    for name in explicit:
        owners = [alg for alg in ALGORITHMS if alg in SETTINGS[name].defaults]
        if owners and name not in names:
            raise UserError(
                f"{SETTINGS[name].flag} is not a setting of {preset.alg}; leave it out, or choose --alg "
                f"{' or '.join(owners)}"
            )
    given = settings_class(**preset.learn | {name: value for name, value in explicit.items() if name in names})
    given.check()
    if is_total:
        given = given.per_rank(ranks, num_envs)
        given.check()
    given.check_for(num_envs)
    return given
