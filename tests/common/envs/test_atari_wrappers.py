"""Atari wrappers: episode ends and rewards for the learner and for evaluation; frames are determined by the seed."""

import csv

import gymnasium as gym
import numpy as np
import pytest

from common.envs.atari_wrappers import ClipReward, EpisodicLife, FireOnLifeLoss, FireReset, make_atari
from common.envs.factory import make_env
from common.envs.monitor import Monitor, find_monitor
from common.errors import UserError
from common.vec_env.factory import make_vector_env

NOOP, FIRE = 0, 1


class ScriptedGame(gym.Env):
    """A game of three lives that loses one at every fourth step and ends with the last one.

    Step n has reward 5 n, or -5 n for FIRE. The object is its own `ale`. `played` contains every action since the start
    and 'reset' for every reset.
    """

    observation_space, action_space = gym.spaces.Box(0, 255, (1,), np.uint8), gym.spaces.Discrete(2)

    def __init__(self):
        self.ale, self.played, self.steps = self, [], 0

    def lives(self):
        return 3 - self.steps // 4

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        self.played.append("reset")
        return np.zeros(1, np.uint8), {}

    def step(self, action):
        self.steps += 1
        self.played.append(action)
        rew = 5.0 * self.steps * (-1 if action == FIRE else 1)
        return np.full(1, self.steps, np.uint8), rew, self.lives() == 0, False, {}


def play_until_end(env, action=NOOP):
    """Step until the episode ends; return the number of steps and the last observation."""
    for step in range(1, 100):
        ob, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return step, int(ob[0])
    raise AssertionError("the episode does not end")


def test_lost_life_ends_the_learners_episode_but_not_the_game():
    game = ScriptedGame()
    env = EpisodicLife(game)
    env.reset()
    assert play_until_end(env) == (4, 4)
    ob, _ = env.reset()
    assert ob == 5 and game.played.count("reset") == 1  # the no-op of the reset was the game's fifth step
    assert play_until_end(env) == (3, 8)


def test_game_is_reset_when_the_last_life_is_lost():
    game = ScriptedGame()
    env = EpisodicLife(game)
    for _ in range(3):
        env.reset()
        play_until_end(env)
    assert game.steps == 12 and game.played.count("reset") == 1
    ob, _ = env.reset()
    assert ob == 0 and game.played.count("reset") == 2


def test_reset_with_seed_starts_a_new_game_with_lives_left():
    game = ScriptedGame()
    env = EpisodicLife(game)
    env.reset()
    play_until_end(env)
    ob, _ = env.reset(seed=1)
    assert ob == 0 and game.played.count("reset") == 2
    assert play_until_end(env) == (4, 4)


def test_inner_monitor_records_one_full_game():
    env = EpisodicLife(Monitor(ScriptedGame()))
    for _ in range(3):
        env.reset()
        play_until_end(env)
    assert find_monitor(env).take_episodes() == [(5.0 * sum(range(1, 13)), 12)]


def test_fire_is_pressed_after_every_reset_and_its_frame_is_returned():
    game = ScriptedGame()
    env = FireReset(EpisodicLife(game))
    assert env.reset()[0] == 1
    play_until_end(env)
    assert env.reset()[0] == 6
    assert game.played == ["reset", FIRE, NOOP, NOOP, NOOP, NOOP, FIRE]


def test_fire_is_pressed_after_each_lost_life_but_the_last():
    game = ScriptedGame()
    env = FireReset(FireOnLifeLoss(Monitor(game)))
    env.reset()
    rewards = [env.step(NOOP)[1] for _ in range(8)]
    assert game.played == ["reset", FIRE, NOOP, NOOP, NOOP, FIRE, NOOP, NOOP, NOOP, FIRE, NOOP, NOOP]
    # a step in which a life is lost also contains the reward of FIRE
    assert rewards == [10.0, 15.0, 20.0 - 25.0, 30.0, 35.0, 40.0 - 45.0, 50.0, 55.0]
    assert env.step(NOOP)[2] and game.played[-1] == NOOP and find_monitor(env).take_episodes()[0][1] == 12


def test_a_policy_that_never_fires_is_evaluated_over_full_games():
    env = make_env("BreakoutNoFrameskip-v4", training=False)
    env.reset(seed=0)
    # a ball that the paddle misses is lost in about 20 steps
    steps = next(step for step in range(1, 3000) if any(env.step(0)[2:4]))
    assert env.unwrapped.ale.lives() == 0 and steps < 500


def test_learner_gets_the_sign_of_the_reward():
    env = ClipReward(ScriptedGame())
    env.reset()
    assert [env.step(action)[1] for action in (NOOP, FIRE)] == [1.0, -1.0]


def test_evaluation_gets_unclipped_rewards():
    rewards = {}
    for training in (True, False):
        env = make_env("ALE/MsPacman-v5", training=training)
        env.reset(seed=0)
        rewards[training] = [env.step(3)[1] for _ in range(100)]  # after the intro: 10 points per dot
        env.close()
    assert max(rewards[False]) >= 10
    assert rewards[True] == np.sign(rewards[False]).tolist()


@pytest.mark.parametrize("training, episodes", [(True, 5), (False, 1)])
def test_breakout_logs_one_game_of_five_lives_with_the_score_of_the_screen(tmp_path, training, episodes):
    env = make_env("BreakoutNoFrameskip-v4", tmp_path / "0.0.monitor.csv", training)
    env.reset(seed=0)
    rng, ended, steps = np.random.default_rng(0), 0, 0
    while not (games := find_monitor(env).take_episodes()):
        _, _, terminated, truncated, _ = env.step(rng.integers(4))
        steps += 1
        if terminated or truncated:
            ended += 1
            score = [int(f"{digits:02x}") for digits in env.unwrapped.ale.getRAM()[76:78]]  # binary coded decimals
            if not env.unwrapped.ale.game_over():
                env.reset()
    env.close()
    assert ended == episodes
    assert games[0][0] == 100 * score[0] + score[1]
    with open(tmp_path / "0.0.monitor.csv", encoding="utf-8") as file:
        file.readline()
        rows = list(csv.DictReader(file))
    assert [(float(row["r"]), int(row["l"])) for row in rows] == games
    assert games[0][1] >= steps  # the game also counts no-ops and FIRE of the resets


def test_seed_determines_the_frames_with_sticky_actions():
    env = make_atari("ALE/Breakout-v5")

    def frames(seed):
        rng = np.random.default_rng(0)
        first, _ = env.reset(seed=seed)
        obs = [first.copy()]
        for _ in range(50):
            ob, _, terminated, truncated, _ = env.step(rng.integers(4))
            obs.append((env.reset()[0] if terminated or truncated else ob).copy())
        return np.array(obs)

    first, same_seed, other_seed = frames(3), frames(3), frames(4)
    env.close()
    assert (first == same_seed).all()
    assert (first != other_seed).any()


def test_observation_is_the_last_four_frames_newest_last():
    env = make_atari("PongNoFrameskip-v4")
    assert env.observation_space == gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    before, _ = env.reset(seed=0)
    for _ in range(30):  # until the ball is in play
        before = env.step(2)[0].copy()
    after, _, _, _, info = env.step(2)
    frame = info["episode_frame_number"]
    assert after.shape == (4, 84, 84) and after.dtype == np.uint8
    assert (after[:-1] == before[1:]).all() and (after[-1] != before[-1]).any()
    assert env.step(2)[4]["episode_frame_number"] == frame + 4
    env.close()


def test_games_start_with_at_most_thirty_no_ops():
    env = make_atari("PongNoFrameskip-v4")
    starts = {env.reset(seed=seed)[1]["episode_frame_number"] - 4 for seed in range(6)}  # 4 frames of FIRE
    env.close()
    assert len(starts) > 1 and min(starts) >= 1 and max(starts) <= 30


@pytest.mark.parametrize("env_id, sticky", [("ALE/Pong-v5", 0.25), ("PongNoFrameskip-v4", 0.0)])
def test_only_v5_has_sticky_actions(env_id, sticky):
    env = make_atari(env_id)
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == sticky
    env.close()


def test_vector_env_writes_one_monitor_file_per_environment(tmp_path):
    envs = make_vector_env("PongNoFrameskip-v4", 2, rank=1, monitor_dir=tmp_path)
    obs, _ = envs.reset(seed=[0, 1])
    envs.close()
    assert obs.shape == (2, 4, 84, 84)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.0.monitor.csv", "1.1.monitor.csv"]


def test_arguments_that_the_preprocessing_sets_are_refused():
    with pytest.raises(UserError, match="frameskip=4: the preprocessing of Atari games chooses it"):
        make_env("ALE/Pong-v5", env_kwargs={"frameskip": 4})
