"""Settings describe themselves: what the registry derives from their fields."""

import dataclasses
import inspect

import pytest

from baselines_ppo import CnnPolicy, MlpPolicy
from baselines_ppo.cli.parser import build_parser
from baselines_ppo.config import registry
from baselines_ppo.config.policy_settings import OLDER_CNN, POLICIES
from baselines_ppo.config.registry import SETTINGS
from baselines_ppo.config.run_settings import RunSettings
from baselines_ppo.config.setting_fields import GROUPS
from baselines_ppo.config.settings import PPOSettings, TRPOSettings
from common.errors import UserError


@pytest.mark.parametrize("policy", ["mlp", "cnn"])  # MixedPolicy takes those of both by name
def test_arguments_of_the_policies_have_the_defaults_of_their_settings(policy):
    parameters = inspect.signature({"mlp": MlpPolicy, "cnn": CnnPolicy}[policy]).parameters
    defaults = {one.name: one.default for one in dataclasses.fields(POLICIES[policy])}
    assert {name: parameters[name].default for name in defaults} == defaults
    assert parameters.keys() == {"name", "ob_space", "ac_space", *defaults}


def test_every_setting_has_a_group_and_an_option():
    assert {one.info.group for one in SETTINGS.values()} == GROUPS.keys()
    assert SETTINGS.keys() <= build_parser().actions.keys()


def test_what_a_resume_may_change_belongs_to_the_run():
    names = {one.name for one in dataclasses.fields(RunSettings)}
    assert set(registry.RESUME_FREE) <= names and set(registry.STOP_SETTINGS) <= set(registry.RESUME_FREE)
    assert not set(registry.RESUME_FREE) & set(registry.MACHINE_SETTINGS)


def test_what_makes_another_run_follows_from_the_fields():
    assert set(registry.NON_IDENTITY_SETTINGS) == {*registry.RESUME_FREE, "env_workers", "env_threads"}
    expected = {"seed", "env", *registry.NON_IDENTITY_SETTINGS} - set(registry.STOP_SETTINGS)
    assert set(registry.NOT_GROUPABLE) == expected


def test_settings_of_one_run_only_are_not_swept():
    assert registry.NOT_SWEEPABLE.keys() == set(registry.RUN_LOCAL_SETTINGS)


def test_counts_are_found_by_their_role():
    assert PPOSettings.counts() == ("timesteps_per_actorbatch", "optim_batchsize")
    assert TRPOSettings.counts() == ("timesteps_per_batch", "vf_batchsize")


def test_files_from_before_a_setting_have_the_value_that_was_in_effect():
    assert OLDER_CNN == {"channels": "smaller"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_envs": 0}, "invalid num_envs=0: must be at least 1, or none"),
        ({"num_envs": 10**6}, "invalid num_envs=1000000: must be at most 100,000"),
        ({"seed": -1}, "invalid seed=-1: must be at least 0"),
        ({"eval_every": -1}, "invalid eval_every=-1: must be at least 0"),
        ({"reward_scale": 1e31}, r"invalid reward_scale=1e\+31: must be at most 1e\+30"),
        ({"batch": "each"}, "invalid batch='each': must be one of total, per-rank"),
    ],
)
def test_a_value_outside_of_its_range_is_refused(changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        RunSettings(**changes).check()


@pytest.mark.parametrize("value", ["1", True, 0.5])
def test_a_number_of_another_type_is_refused(value):
    with pytest.raises(UserError, match="^invalid optim_epochs="):
        PPOSettings(optim_epochs=value)


def test_a_function_for_a_schedule_is_refused_with_the_setting_to_use():
    with pytest.raises(UserError, match="must be a number, not a function; .* set clip_schedule='linear'"):
        PPOSettings(clip_param=lambda fraction: 0.2 * fraction)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vf_iters": 2, "recompute_adv": True}, "recompute_adv=True with vf_iters=2"),
        ({"kl_min": 0.1}, "kl_min=0.1, kl_max=None"),
        ({"kl_min": 0.2, "kl_max": 0.1}, "kl_min=0.2, kl_max=0.1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        PPOSettings(**values).check()
