"""The vector environment checker: the rules of the autoreset modes and final observations."""

import gymnasium as gym
import numpy as np
import pytest
from batch_env import PARTS, BatchEnv, collect_or_error, with_changed_result
from gymnasium.vector import AutoresetMode

from common.errors import UserError

NEXT_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED


@pytest.mark.parametrize("mode", ["NextStep", "SAME_STEP", None, 1])
def test_invalid_autoreset_mode_is_refused(mode):
    env = BatchEnv()
    env.metadata = {"autoreset_mode": mode}
    with pytest.raises(UserError) as caught:
        collect_or_error(env)
    assert f"BatchEnv.metadata['autoreset_mode'] is {mode!r}; set it to the AutoresetMode" in str(caught.value)


@pytest.mark.parametrize("space", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_final_observations_of_a_correct_vector_env_are_collected(mode, space):
    seg = collect_or_error(BatchEnv(mode, 3, space))
    assert seg["final_obs"][0][:2] == (2, 0) and set(seg["final_obs"][0][2]) == {3.0}


def change_infos(change):
    """Return a function that changes the infos in the result of a step that ends an episode."""
    return lambda result: (*result[:4], change(result[4]) if result[3].any() else result[4])


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            lambda _: {},
            "BatchEnv breaks a promise of its autoreset mode: SAME_STEP promises infos['final_obs'], which this environment does not return, at step 2 ",
        ),
        (
            lambda infos: {"final_observation": infos["final_obs"]},
            "SAME_STEP promises infos['final_obs'], which this environment does not return, but 'final_observ",
        ),
        (
            lambda infos: {"final_obs": np.full(3, None, object)},
            "environment 0 breaks a promise of its autoreset mode: SAME_STEP promises infos['final_obs'][0]",
        ),
        (lambda infos: {"final_obs": []}, "SAME_STEP promises infos['final_obs'][0] where environment 0 ended"),
        (
            lambda infos: {"final_obs": np.zeros((3, 5))},
            "environment 0 returned an observation of shape (5,), but its space is Box(-1.0, 99.0, (2,), float32), in"
            " infos['final_obs'][0]",
        ),
        (lambda infos: [infos], "BatchEnv returned the infos [{'final_obs': "),
    ],
)
def test_missing_or_wrong_final_observations_in_same_step_mode_are_reported(change, expected):
    assert expected in collect_or_error(with_changed_result(BatchEnv(), "step", change_infos(change)))


@pytest.mark.parametrize("space", ["Dict", "Tuple"])
def test_final_observations_may_be_a_batch(space):
    env = BatchEnv(space=PARTS[space])

    def batched(result):
        last = result[4].get("final_obs")
        parts = PARTS[space].keys() if space == "Dict" else range(2)
        rows = (
            {part: np.stack([np.zeros(2) if ob is None else ob[part] for ob in last]) for part in parts}
            if last is not None
            else None
        )
        return (*result[:4], {} if last is None else {"final_obs": rows if space == "Dict" else tuple(rows.values())})

    assert set(collect_or_error(with_changed_result(env, "step", batched))["final_obs"][0][2]) == {3.0}
    assert "which this environment does not return" in collect_or_error(
        with_changed_result(BatchEnv(space=PARTS[space]), "step", change_infos(lambda _: {}))
    )


def test_episode_that_ends_in_its_reset_step_is_refused_in_next_step_mode():
    env = BatchEnv(NEXT_STEP)
    message = collect_or_error(
        with_changed_result(env, "step", lambda result: (*result[:2], result[2] | True, *result[3:]))
    )
    assert message.startswith(
        "environment 0 breaks a promise of its autoreset mode: NEXT_STEP promises that the step after an episode's end only starts the next one"
    )


def test_reset_by_mask_that_resets_other_environments_is_refused():
    env = BatchEnv(DISABLED)
    reset = env.reset
    env.reset = lambda *, seed=None, options=None: reset(seed=seed)
    assert collect_or_error(env).startswith(
        "environment 1 breaks a promise of its autoreset mode: DISABLED promises that reset(options={'reset_mask': ...})"
    )
    seg = collect_or_error(
        gym.wrappers.vector.TransformObservation(BatchEnv(DISABLED), lambda obs: obs + np.float32(np.random.uniform()))
    )
    assert seg["truncated"].any()  # the observation that a wrapper returns may change
