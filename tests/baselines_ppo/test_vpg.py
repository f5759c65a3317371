"""REINFORCE and A2C: whole episodes, returns, baselines, the step."""

import gymnasium as gym
import numpy as np
import pytest
from logs import Rows
from small_envs import Identity
from small_policies import uncompiled
from tolerance import ulps

from baselines_ppo import MlpPolicy, UserError, vpg
from baselines_ppo.config.settings import VPGSettings
from common.distributed.communicator import Communicator
from common.rollouts.collector import Collector
from common.vec_env.in_process import InProcessVectorEnv


class Count(gym.Env):
    """Episodes of the given lengths in turn; observation and reward are the number of the step in its episode."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (1,)), gym.spaces.Discrete(2)

    def __init__(self, lengths, truncated=False):
        self.lengths, self.truncated, self.episode = lengths, truncated, -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        ended = self.t == self.lengths[self.episode % len(self.lengths)]
        return np.full(1, self.t, np.float32), float(self.t), ended and not self.truncated, ended and self.truncated, {}


def policy(*args):
    return uncompiled(*args, normalise_ob=False)


def whole_segment(lengths, horizon):
    env = InProcessVectorEnv([Count(one) for one in lengths])
    collector = Collector(
        env, policy("pi", env.single_observation_space, env.single_action_space), horizon, whole_episodes=True
    )
    collector.reset()
    return collector.collect(np.random.default_rng(0))


@pytest.mark.parametrize(
    "lengths, horizon", [([[7]], 10), ([[5]], 10), ([[30]], 10), ([[3], [11]], 8), ([[4, 9], [2], [25]], 12)]
)
def test_no_episode_is_truncated_with_whole_episodes(lengths, horizon):
    seg = whole_segment(lengths, horizon)
    share, ended = horizon // len(lengths), seg["terminated"] | seg["truncated"]
    for k, own in enumerate(lengths):
        count = int(seg["valid"][:, k].sum())
        # valid steps come first, and the last one ends an episode
        assert seg["valid"][:count, k].all() and ended[count - 1, k]
        expected, i = 0, 0
        while expected < share:  # the number of episodes that fill this environment's share
            expected += own[i % len(own)]
            i += 1
        assert count == expected
        assert ended[:count, k].sum() == i
    assert seg["steps"] >= seg["valid"].sum() >= horizon


def test_episode_that_never_ends_is_rejected(monkeypatch):
    monkeypatch.setattr("common.rollouts.collector.MAX_EPISODE_STEPS", 100)
    with pytest.raises(UserError, match="TimeLimit"):
        whole_segment([[10**9]], 16)


@pytest.mark.parametrize(
    "reward_to_go, baseline, expected",
    [
        (True, "none", [1 + 0.5 * 2 + 0.25 * 3, 2 + 0.5 * 3, 3, 1 + 0.5 * 2, 2]),
        (False, "none", [2.75] * 3 + [2.0] * 2),
    ],
)
def test_returns_by_hand(reward_to_go, baseline, expected):
    seg = whole_segment([[3, 2]], 5) | {
        "vpred": np.full((5, 1), 9.0, np.float32),
        "nextvpred": np.zeros(1),
        "final_vpred": np.full((5, 1), 7.0),
    }
    settings = VPGSettings(gamma=0.5, reward_to_go=reward_to_go, baseline=baseline, standardise_adv=False)
    settings.check()
    vpg.add_advantages(seg, settings, Communicator(None))
    assert seg["adv"][:, 0] == pytest.approx(expected)
    vpg.add_advantages(seg, VPGSettings(gamma=0.5, reward_to_go=reward_to_go, baseline="mean"), Communicator(None))
    # float64, rounded once to float32
    assert seg["adv"][:, 0] == pytest.approx(np.array(expected) - np.mean(expected), rel=0, abs=ulps(1, 3))


@pytest.mark.parametrize("mode", list(gym.vector.AutoresetMode))
def test_episode_returns_by_hand_in_all_autoreset_modes(mode):
    env = gym.vector.SyncVectorEnv([lambda: Count([3, 2])], autoreset_mode=mode)
    collector = Collector(env, policy("pi", Count.observation_space, Count.action_space), 9, whole_episodes=True)
    collector.reset()
    seg = collector.collect(np.random.default_rng(0))
    vpg.add_advantages(seg, VPGSettings(gamma=0.5, reward_to_go=False, baseline="mean"), Communicator(None))
    returns = seg["tdlamret"][seg["valid"]]
    assert len(returns) in (8, 10) and returns == pytest.approx(
        [2.75, 2.75, 2.75, 2.0, 2.0, 2.75, 2.75, 2.75, 2.0, 2.0][: len(returns)]
    )


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3, start=5), gym.spaces.MultiDiscrete([3, 2], start=[4, -3])], ids=str
)
def test_padding_samples_have_valid_actions(space):
    rows = Rows()
    # 200 samples, padded to 300
    vpg.learn(Identity(space), policy, timesteps_per_actorbatch=150, vf_iters=1, max_iters=2, seed=0, logger=rows)
    assert len(rows.rows) == 2 and np.isfinite([row["loss_pol_surr"] for row in rows.rows]).all()


def test_with_a_value_baseline_lambda_one_is_the_return_minus_the_value():
    vpred = np.arange(5, dtype=np.float32)[:, None]
    seg = whole_segment([[3, 2]], 5) | {"vpred": vpred, "nextvpred": np.zeros(1), "final_vpred": np.zeros((5, 1))}
    vpg.add_advantages(seg, VPGSettings(gamma=0.5), Communicator(None))
    assert seg["adv"][:, 0] == pytest.approx(np.array([2.75, 3.5, 3, 2, 2]) - np.arange(5))
    assert seg["tdlamret"][:, 0] == pytest.approx([2.75, 3.5, 3, 2, 2])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"baseline": "mean"},
        {"baseline": "none", "standardise_adv": False},
        {"baseline": "none", "standardise_adv": False, "reward_to_go": False},
        {"whole_episodes": False, "lam": 0.9, "vf_iters": 0, "timesteps_per_actorbatch": 64},
    ],
)
def test_each_kind_trains_with_few_compiled_shapes(settings, monkeypatch):
    updates, log = [], Rows()

    class Recorder(vpg.VPGUpdate):
        def __init__(self, setup):
            super().__init__(setup)
            updates.append(self)

    monkeypatch.setattr(vpg, "VPGUpdate", Recorder)
    env = InProcessVectorEnv([Count([3, 40, 8, 90]) for _ in range(2)])
    vpg.learn(
        env,
        policy,
        max_iters=20,
        seed=0,
        logger=log,
        **{"timesteps_per_actorbatch": 128, "vf_batchsize": 32} | settings,
    )
    # segments of 128 to 2 * (64 + 89) valid samples, and more invalid ones, are padded to 128, 256 or 512
    assert updates[0].optimizer.strategy.compiled_graph.experimental_get_tracing_count() <= 3
    assert len(log.rows) == 20 and all(np.isfinite(row["loss_pol_surr"]) for row in log.rows)


def test_a2c_learns():
    log = Rows()
    env = InProcessVectorEnv([gym.make("CartPole-v1") for _ in range(8)])
    vpg.learn(
        env,
        MlpPolicy,
        timesteps_per_actorbatch=128,
        whole_episodes=False,
        lam=0.95,
        vf_iters=0,
        optim_stepsize=3e-3,
        max_timesteps=30_000,
        seed=0,
        logger=log,
    )
    assert log.rows[-1]["EpRewMean"] > 60


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"baseline": "none"}, "standardis"),
        ({"baseline": "mean", "lam": 0.9}, "lam"),
        ({"reward_to_go": False}, "value"),
        ({"baseline": "mean", "whole_episodes": False}, "whole_episodes"),
        ({"vf_batchsize": 4096}, "vf_batchsize"),
        ({"optim_epochs": 2}, "optim_epochs"),
    ],
)
def test_contradictory_settings_are_rejected(setting, message):
    with pytest.raises(UserError, match=message):
        vpg.learn(Count([3]), policy, max_iters=1, **setting)
