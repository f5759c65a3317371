"""The tasks of benchmarks.policies: their best and chance returns, masks, and the log of episodes."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from benchmarks.policies.tasks import MAP, MOVES, TASKS, EpisodeLog, FindGoal, Grid, LoggedEpisodes, Recall
from benchmarks.policies.trainings import COMPARED, GRID_SOLVED, TRAININGS, sb3_contrib_settings


def play(env, choose, seed):
    """Return of one episode in which `choose(ob)` acts, and its length."""
    ob, _ = env.reset(seed=seed)
    total, steps, ended = 0.0, 0, False
    while not ended:
        ob, reward, terminated, truncated, _ = env.step(choose(ob))
        total, steps, ended = total + reward, steps + 1, terminated or truncated
    return total, steps


@pytest.mark.parametrize("name", TASKS)
def test_tasks_keep_gymnasiums_rules(name, monkeypatch):
    monkeypatch.setattr(gym.logger, "min_level", gym.logger.ERROR)
    check_env(TASKS[name]().unwrapped, skip_render_check=True)


def test_recall_scores_1_with_the_cue_and_is_a_coin_toss_without_it():
    class Memory:
        def __call__(self, ob):
            if ob[0]:
                self.cue = ob[0]
            return int(self.cue > 0)

    assert [play(Recall(), Memory(), seed) for seed in range(5)] == [(1.0, 21)] * 5
    fixed = [play(Recall(), lambda ob: 1, seed)[0] for seed in range(200)]
    assert 0.35 < np.mean(fixed) < 0.65
    env = Recall()
    last = []
    for seed in range(2, 8):  # both cues
        env.reset(seed=seed)
        for _ in range(20):
            ob, *_ = env.step(0)
        last.append(ob.tolist())
    assert last == [[0, 1]] * 6


def test_grid_has_at_least_90_percent_invalid_actions_and_they_change_nothing():
    env = Grid()
    for cell in range(env.goal):
        env.reset(seed=0)
        env.cell = cell
        masks = env.action_masks()
        assert masks.any() and np.mean(masks) <= 0.1
        for action in np.flatnonzero(~masks):
            assert env.step(action)[:3] == (cell, -1.0, False)


def test_grid_best_return_is_that_of_shortest_paths_by_search():
    env, lengths = Grid(), {Grid.goal: 0}
    frontier = [Grid.goal]
    while frontier:  # breadth first
        cell = frontier.pop(0)
        for following in np.flatnonzero(env.adjacent[cell]):
            if following not in lengths:
                lengths[following] = lengths[cell] + 1
                frontier.append(following)
    assert env.best_return() == pytest.approx(-sum(lengths.values()) / (len(lengths) - 1))
    assert -100 < GRID_SOLVED < env.best_return()
    assert not hasattr(Grid(masks=False), "action_masks")


def test_find_goal_takes_8_thirds_steps_with_both_parts():
    pairs = list(itertools.permutations(itertools.product(range(MAP), repeat=2), 2))
    assert np.mean([abs(a - c) + abs(b - d) for (a, b), (c, d) in pairs]) == pytest.approx(8 / 3)

    def walk(ob):
        position = np.rint((ob["position"] + 1) * (MAP - 1) / 2)
        bright = np.argwhere(ob["map"][..., 0])
        away = bright.mean(axis=0) // (len(ob["map"]) / MAP) - position
        return max(range(len(MOVES)), key=lambda i: np.dot(MOVES[i], away))

    returns = [play(FindGoal(), walk, seed)[0] for seed in range(300)]
    assert np.mean(returns) == pytest.approx(-8 / 3, abs=0.25)


def test_choose_and_set_scores_50_at_best_and_the_stated_amounts_without_one_part():
    env = TASKS["choose-and-set"]()

    def returns(choose):
        return np.mean([play(env, choose, seed)[0] for seed in range(100)])

    best = returns(lambda ob: {"choice": ob.argmax(), "parameter": np.array([ob.max()])})
    constant = returns(lambda ob: {"choice": ob.argmax(), "parameter": np.array([np.sqrt(2) - 1])})
    blind = returns(lambda ob: {"choice": 0, "parameter": np.array([ob.max()])})
    assert best == pytest.approx(50)
    assert constant == pytest.approx(50 * (1 - 0.39), abs=1)
    assert blind == pytest.approx(25, abs=1)


def test_partial_tasks_show_no_velocities():
    for name, full, entries in (
        ("cartpole-positions", "CartPole-v1", [0, 2]),
        ("pendulum-angle", "Pendulum-v1", [0, 1]),
    ):
        env, other = TASKS[name](), gym.make(full)
        np.testing.assert_array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0][entries])
        action = env.action_space.sample()
        ob = env.step(action)[0]
        np.testing.assert_array_equal(ob, other.step(action)[0][entries])
        assert env.observation_space.contains(ob)


def test_log_counts_the_steps_of_all_environments():
    log = EpisodeLog()
    envs = [LoggedEpisodes(Recall(), log) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    for _ in range(21):
        for env in envs:
            env.step(env.env.answer)
    assert log.steps == 42 and log.episodes == [(41, 1.0), (42, 1.0)]
    assert log.steps_until(1.0, window=2) == 42
    assert log.steps_until(1.1, window=2) is None and log.steps_until(0.0, window=3) is None


def test_logged_grid_gives_its_masks():
    env = LoggedEpisodes(Grid(), EpisodeLog())
    env.reset(seed=0)
    np.testing.assert_array_equal(env.action_masks(), env.unwrapped.action_masks())
    assert not LoggedEpisodes(Grid(masks=False), EpisodeLog()).has_wrapper_attr("action_masks")


@pytest.mark.parametrize("name", COMPARED)
def test_settings_of_both_libraries_agree(name):
    training = COMPARED[name]
    ours, theirs = training.learn_settings(), sb3_contrib_settings(training)
    assert theirs["n_steps"] * 8 == ours["timesteps_per_actorbatch"] and theirs["batch_size"] == ours["optim_batchsize"]
    assert set(ours) == {
        *("timesteps_per_actorbatch", "optim_batchsize", "optim_epochs", "optim_stepsize", "gamma", "lam"),
        *("clip_param", "entcoeff", "vf_coef", "max_grad_norm", "schedule"),
        *training.settings,
    }
    assert training.settings.keys() <= {"scale_returns"}  # make_model has the schedule, `normalised` the scaling


def test_required_returns_are_above_what_a_lack_of_the_part_allows():
    bounds = {"recall, LSTM": 0.5, "recall, GRU": 0.5, "image and vector": -8, "choice and parameter": 31}
    for name, bound in bounds.items():
        assert TRAININGS[name].minimum > bound
