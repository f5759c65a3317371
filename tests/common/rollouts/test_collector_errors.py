"""The collector rejects unusable environments and horizons, and reports non-finite numbers with the environment's number."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from scripted import MODES, ScriptedEnv, ScriptedPolicy, passed_as

from common.errors import EnvError, UserError
from common.policies.observation_encoder import ObservationEncoder
from common.rollouts.collector import Collector
from common.vec_env.adapter import VectorEnvAdapter


class BrokenEnv(ScriptedEnv):
    """Environment 1 returns a non-finite number in its sixth step, in the middle of an episode."""

    what, number = "observation", np.nan

    def step(self, action):
        ob, rew, terminated, truncated, info = super().step(action)
        if self.k == 1 and len(self.actions) == 6:
            if self.what == "observation":
                ob = np.float32([1, self.number, 1])
            else:
                rew = self.number
        return ob, rew, terminated, truncated, info


@pytest.mark.parametrize("kind", ["in_process", *MODES], ids=str)
@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_rejected_with_the_environments_number(kind, what, number):
    broken = type("Broken", (BrokenEnv,), {"what": what, "number": number})
    env, envs = passed_as(kind, env_class=broken)
    step = 7 if kind is AutoresetMode.NEXT_STEP else 5  # two rows before it are resets
    with pytest.raises(
        EnvError,
        match=f"environment 1 returned an? {what} that is not finite: .* at step {step} of the segment",
    ) as error:
        Collector(env, ScriptedPolicy(broken), 9 * len(envs)).collect(np.random.default_rng(0))
    assert "\n" not in str(error.value)


class BrokenAtTheLimit(ScriptedEnv):
    def step(self, action):
        ob, *rest = super().step(action)
        return (ob * np.float32(np.nan) if rest[2] else ob), *rest


@pytest.mark.parametrize("kind", ["env", "in_process", *MODES], ids=str)
def test_non_finite_final_observation_is_rejected(kind):
    """It would change the targets through V(final ob)."""
    env, envs = passed_as(kind, env_class=BrokenAtTheLimit)
    with pytest.raises(EnvError, match="returned an observation that is not finite"):
        Collector(env, ScriptedPolicy(ScriptedEnv), 8 * len(envs)).collect(np.random.default_rng(0))


@pytest.mark.parametrize("horizon", [2, 0, 10, -3])
def test_horizon_that_is_not_a_multiple_of_the_environments_is_rejected(horizon):
    with pytest.raises(UserError, match=f"invalid horizon={horizon}: must be a multiple of 3"):
        Collector(passed_as("in_process")[0], ScriptedPolicy(ScriptedEnv), horizon)


def test_segment_that_could_consist_of_resets_is_rejected_before_the_first_step():
    env, _ = passed_as(AutoresetMode.NEXT_STEP)
    with pytest.raises(UserError, match="consist of resets only.*use at least 6 steps"):
        Collector(env, ScriptedPolicy(ScriptedEnv), 3)
    Collector(env, ScriptedPolicy(ScriptedEnv), 6)


@pytest.mark.parametrize("mode", [None, "NextStep"])
def test_vector_env_without_autoreset_mode_is_rejected(mode):
    env, _ = passed_as("in_process")
    env.metadata = {} if mode is None else {"autoreset_mode": mode}
    with pytest.raises(UserError, match="autoreset_mode") as error:
        VectorEnvAdapter(env, ObservationEncoder(ScriptedEnv.observation_space))
    assert "\n" not in str(error.value)


def test_environment_of_old_gym_is_rejected():
    class OldEnv:
        observation_space, action_space = ScriptedEnv.observation_space, ScriptedEnv.action_space

    with pytest.raises(UserError, match="OldEnv, not a gymnasium.Env"):
        VectorEnvAdapter(OldEnv(), ObservationEncoder(ScriptedEnv.observation_space))
