"""`ActionMaskWrapper` and the detection of masks, in every convention; the places of missing and empty masks."""

import gymnasium as gym
import numpy as np
import pytest
from masked_envs import Corridor

from common.envs.action_masks import ActionMaskWrapper, mask_source, with_masks_of
from common.envs.monitor import Monitor, find_monitor
from common.errors import EnvError, UserError

CONVENTIONS = ("method", "info", "observation", "box")


@pytest.mark.parametrize("masks", CONVENTIONS)
def test_the_mask_of_each_state_is_in_its_observation(masks):
    env = with_masks_of(Corridor(masks, goal=3), None)
    assert env.observation_space["action_mask"] == gym.spaces.MultiBinary(5)
    assert env.observation_space["observation"].shape == (1,)
    ob, _ = env.reset(seed=0)
    found = [ob["action_mask"].tolist()]
    for action in (1, 0, 1, 1):
        assert ob in env.observation_space
        ob, _, terminated, _, _ = env.step(action)
        found.append(ob["action_mask"].tolist())
        assert not terminated
    assert found == [[0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]
    ob, _, terminated, _, _ = env.step(1)
    assert terminated
    assert ob["observation"].tolist() == [3]
    assert ob["action_mask"].tolist() == [1] * 5  # no action follows


def test_nobody_asks_for_masks_at_the_end_of_an_episode():
    corridor = Corridor("method", goal=1)
    ask = corridor.action_masks
    corridor.action_masks = lambda: ask() if corridor.place < 1 else pytest.fail("asked at the end")
    env = ActionMaskWrapper(corridor)
    env.reset()
    assert env.step(1)[2]


def test_taxi_of_gymnasium_gives_masks():
    env = with_masks_of(gym.make("Taxi-v4"), None)
    ob, info = env.reset(seed=3)
    for _ in range(20):
        assert ob["action_mask"].tolist() == info["action_mask"].tolist()
        ob, _, _, _, info = env.step(env.action_space.sample(info["action_mask"]))


@pytest.mark.parametrize("masks", CONVENTIONS)
def test_the_gymnasium_checker_accepts_the_wrapped_environment(masks):
    from gymnasium.utils.env_checker import check_env

    class Lenient(Corridor):
        def step(self, action):
            return super().step(action if self.valid()[action] else 1)

    check_env(ActionMaskWrapper(Lenient(masks)), skip_render_check=True)


def test_an_environment_without_masks_is_returned_as_it_is():
    for env in (gym.make("CartPole-v1"), gym.make("Pendulum-v1"), Corridor(None)):
        assert with_masks_of(env, None) is env
        with pytest.raises(UserError, match=r"action_masks=True: .*(define a method action_masks|has no choices)"):
            with_masks_of(env, True)
    env = Corridor("method")
    assert with_masks_of(env, False) is env


def test_only_an_environment_with_choices_and_without_the_method_is_reset_to_look():
    class Continuous(Corridor):
        def __init__(self):
            super().__init__("info")
            self.action_space = gym.spaces.Box(-1, 1, (2,))

    for env, resets in ((Corridor("method"), 0), (Corridor("box"), 0), (Continuous(), 0), (Corridor("info"), 1)):
        with_masks_of(env, None)
        assert env.resets == resets


def test_wrappers_of_gymnasium_do_not_notice_the_look():
    counted = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(Corridor("info"), 5))
    seen = []
    counted.reset = lambda **_: seen.append(1)
    assert mask_source(Monitor(counted)) == "info"
    assert not seen


def test_an_environment_that_cannot_be_reset_yet_is_left_to_the_training():
    class Broken(Corridor):
        def reset(self, **_):
            raise RuntimeError("no simulator")

    assert mask_source(Broken("info")) is None


def test_a_wrapped_environment_is_not_wrapped_again():
    env = ActionMaskWrapper(Corridor("info"))
    for outer in (env, Monitor(env), gym.wrappers.TimeLimit(env, 3)):
        assert with_masks_of(outer, None) is outer
        assert with_masks_of(outer, True) is outer


def test_the_monitor_inside_is_found_and_records_the_episode():
    env = with_masks_of(Monitor(Corridor("method", goal=2)), True)
    env.reset()
    env.step(1)
    env.step(1)
    assert find_monitor(env).take_episodes() == [(1.0, 2)]


class Forgets(Corridor):
    """Gives no mask from the third step on; or, with `empty`, one without a valid action."""

    empty = False

    def _result(self):
        ob, info = super()._result()
        if self.steps < 3:
            return ob, info
        return ob, {"action_mask": np.zeros(5, np.int8)} if self.empty else {}


def test_a_mask_that_is_missing_later_is_an_error_with_its_step():
    env = ActionMaskWrapper(Forgets("info", goal=9))
    env.reset()
    env.step(1)
    env.step(1)
    with pytest.raises(EnvError, match=r"without 'action_mask' from step, although .* after 3 steps of its episode"):
        env.step(1)


def test_a_mask_that_is_never_there_is_an_error_that_names_both_conventions():
    with pytest.raises(EnvError, match=r"no action mask in reset.*action_masks\(\).*info\['action_mask'\]"):
        ActionMaskWrapper(Corridor(None)).reset()


def test_no_valid_action_is_an_error_with_its_step():
    env = ActionMaskWrapper(Forgets("info", goal=9))
    env.unwrapped.empty = True
    env.reset()
    env.step(1)
    env.step(1)
    with pytest.raises(EnvError, match="without a valid action of Discrete.* after 3 steps .*at least one action"):
        env.step(1)


def test_no_valid_action_where_a_time_limit_ends_the_episode_is_no_error():
    env = ActionMaskWrapper(gym.wrappers.TimeLimit(Forgets("info", goal=9), 3))
    env.reset()
    env.step(1)
    env.step(1)
    ob, _, terminated, truncated, _ = env.step(1)
    assert (terminated, truncated, ob["action_mask"].tolist()) == (False, True, [1] * 5)


def test_actions_without_choices_have_no_masks():
    with pytest.raises(UserError, match="has no choices"):
        ActionMaskWrapper(gym.make("Pendulum-v1"))
