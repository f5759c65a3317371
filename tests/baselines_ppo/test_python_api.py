"""`learn` by names, `predict`, `evaluate_policy` and `LearningCurve`."""

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats
from small_policies import uncompiled

from baselines_ppo import Evaluation, LearningCurve, MlpPolicy, evaluate_policy, learn, trpo_mpi, vpg
from common.errors import UserError

TINY = {"timesteps_per_actorbatch": 64, "optim_batchsize": 32, "optim_epochs": 1, "max_iters": 2, "seed": 3}


# ---- names


@pytest.fixture
def closed(monkeypatch):
    """The environments that are closed, in order."""
    found = []
    close = gym.Wrapper.close
    monkeypatch.setattr(gym.Wrapper, "close", lambda env: (found.append(env), close(env))[1])
    return found


@pytest.mark.parametrize("policy", ["MlpPolicy", "mlp"])
def test_environment_and_policy_by_name_give_the_same_training(policy):
    by_name = learn("CartPole-v1", policy, **TINY)
    by_object = learn(gym.make("CartPole-v1"), MlpPolicy, **TINY)
    assert type(by_name) is MlpPolicy
    expected = by_object.state()
    assert all(np.array_equal(x, expected[name]) for name, x in by_name.state().items())


@pytest.mark.parametrize("algorithm", [trpo_mpi.learn, vpg.learn])
def test_other_algorithms_take_names(algorithm):
    assert type(algorithm("CartPole-v1", "MlpPolicy", max_iters=1, seed=0)) is MlpPolicy


def test_environment_made_from_an_id_is_closed(closed):
    learn("CartPole-v1", uncompiled, **TINY)
    assert closed


def test_environment_made_from_an_id_is_closed_if_the_training_fails(closed):
    def callback(locals_, globals_):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        learn("CartPole-v1", uncompiled, callback=callback, **TINY)
    assert closed


def test_environment_made_from_an_id_is_closed_if_the_policy_is_refused(closed):
    with pytest.raises(UserError):
        learn("CartPole-v1", "CnnPolicy", **TINY)
    assert closed


def test_given_environment_stays_open(closed):
    learn(gym.make("CartPole-v1"), uncompiled, **TINY)
    assert not closed


def test_run_directory_of_an_id_has_its_monitor_file(tmp_path):
    learn("CartPole-v1", uncompiled, run_dir=tmp_path / "run", **TINY)
    assert len((tmp_path / "run" / "0.0.monitor.csv").read_text().splitlines()) > 2


@pytest.mark.parametrize(
    "env, policy, named", [("CartPole-v99", "MlpPolicy", "CartPole-v99"), ("CartPole-v1", "LstmPolicy", "LstmPolicy")]
)
def test_unknown_name_is_an_error_in_one_line(env, policy, named):
    with pytest.raises(UserError, match=named) as error:
        learn(env, policy, **TINY)
    assert "\n" not in str(error.value)


# ---- predict


BOX = gym.spaces.Box(np.float32([-0.1, -2]), np.float32([0.1, 0.5]))
SPACES = [
    BOX,
    gym.spaces.Box(-1, 1, (2, 2), np.float64),
    gym.spaces.Discrete(3, start=5),
    gym.spaces.MultiDiscrete([2, 3], start=[1, -1]),
    gym.spaces.MultiBinary(4),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("deterministic", [False, True])
def test_predicted_actions_are_in_the_space(space, deterministic):
    ob_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    pi = MlpPolicy("pi", ob_space, space)
    obs = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
    actions = pi.predict(obs, deterministic=deterministic)
    assert actions.shape == (20, *space.shape) and actions.dtype == space.dtype
    assert all(space.contains(action) for action in actions)
    one = pi.predict(obs[0], deterministic=deterministic)
    assert space.contains(one)
    if deterministic:  # batches of equal size round alike
        np.testing.assert_array_equal(one, pi.predict(obs[:1], deterministic=True)[0])


def test_predicted_actions_of_a_box_are_those_of_act_clipped():
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (3,), np.float32), BOX, init_logstd=2.0)
    obs = np.zeros((200, 3), np.float32)
    pi.rng = np.random.default_rng(0)
    unclipped = pi.act(True, obs)[0]
    pi.rng = np.random.default_rng(0)
    predicted = pi.predict(obs)
    assert (unclipped < BOX.low).any() and (unclipped > BOX.high).any()
    np.testing.assert_array_equal(predicted, np.minimum(np.maximum(unclipped, BOX.low), BOX.high))


def test_predict_rejects_what_is_not_a_bool_or_an_observation():
    pi = MlpPolicy("pi", gym.spaces.Box(-1, 1, (3,), np.float32), BOX)
    with pytest.raises(UserError, match="deterministic='yes'"):
        pi.predict(np.zeros(3, np.float32), deterministic="yes")
    with pytest.raises(UserError, match="observation"):
        pi.predict(np.zeros(4, np.float32))


# ---- evaluate_policy


class Ramp(gym.Env):
    """Episode n has n steps and gives a reward of 2 per step. The number n counts resets."""

    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.episode = self.t = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(3, np.float32), 2.0, self.t == self.episode, False, {}


@pytest.fixture
def pi():
    return MlpPolicy("pi", Ramp.observation_space, Ramp.action_space)


def test_evaluation_has_mean_standard_deviation_and_students_interval(pi):
    found = evaluate_policy(pi, Ramp(), episodes=4)
    assert isinstance(found, Evaluation) and found.episodes == 4
    np.testing.assert_array_equal(found.returns, [2, 4, 6, 8])
    np.testing.assert_array_equal(found.lengths, [1, 2, 3, 4])
    assert found.mean == 5 and found.std == pytest.approx(np.sqrt(5))
    # standard error sqrt(20 / 3 / 4), and the 97.5 % quantile of Student's t with three degrees of freedom, 3.182446
    half = 3.182446 * np.sqrt(20 / 3 / 4)
    assert found.interval == pytest.approx((5 - half, 5 + half), rel=1e-6)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 3, 5, stats.sem(found.returns)))
    assert "4 episodes, return 5 +- 2.236 (from 2 to 8), 95 % interval of the mean" in str(found)


def test_a_single_episode_has_no_interval(pi):
    found = evaluate_policy(pi, Ramp(), episodes=1)
    assert found.interval is None and str(found) == "1 episode, return 2 +- 0 (from 2 to 2), length 1"


def test_evaluation_by_id_repeats_itself_and_closes_its_environment(closed):
    pi = learn("CartPole-v1", uncompiled, **TINY)
    closed.clear()
    first, again = (evaluate_policy(pi, "CartPole-v1", episodes=3, deterministic=False, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.returns, again.returns)
    assert len(closed) >= 2


def test_evaluation_refuses_other_spaces_and_vector_environments(pi):
    with pytest.raises(UserError, match="observations differ"):
        evaluate_policy(pi, "CartPole-v1")
    with pytest.raises(UserError, match="VectorEnv"):
        evaluate_policy(pi, gym.make_vec("CartPole-v1", 2))
    with pytest.raises(UserError, match="episodes=0"):
        evaluate_policy(pi, Ramp(), episodes=0)


class OldGym:
    """An environment of old Gym: no gymnasium.Env, no seed, and four values from step."""

    observation_space, action_space = Ramp.observation_space, Ramp.action_space

    def reset(self):
        return np.zeros(3, np.float32)

    def step(self, action):
        return np.zeros(3, np.float32), 2.0, True, {}


@pytest.mark.parametrize(
    "env, message",
    [(None, "env is a NoneType, not a gymnasium.Env"), (OldGym(), "env is a OldGym, not a gymnasium.Env")],
    ids=["None", "old Gym"],
)
def test_evaluation_refuses_what_is_not_an_environment(pi, env, message):
    with pytest.raises(UserError, match=message) as error:
        evaluate_policy(pi, env)
    assert "\n" not in str(error.value)


def test_evaluation_refuses_what_is_not_a_policy():
    with pytest.raises(UserError, match="invalid pi=None: must be a Policy, such as") as error:
        evaluate_policy(None, Ramp())
    assert "\n" not in str(error.value)


# ---- LearningCurve


def test_learning_curve_has_the_rows_of_progress_csv(tmp_path):
    curve = LearningCurve()
    learn("CartPole-v1", uncompiled, callback=curve, run_dir=tmp_path / "run", **TINY)
    header, *lines = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    table = [dict(zip(header.split(","), map(float, line.split(",")))) for line in lines]
    assert len(curve.rows) == len(table) == 2
    for row, expected in zip(curve.rows, table):
        assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert curve.timesteps == [64, 128]
    assert curve.returns == [row["EpRewMean"] for row in curve.rows]
    assert curve.lengths == curve.returns  # a reward of 1 per step
    assert curve.column("loss_kl") == [row["loss_kl"] for row in curve.rows]
    with pytest.raises(KeyError, match="loss_k: not one of"):
        curve.column("loss_k")


def test_learning_curve_is_empty_before_a_training():
    assert LearningCurve().timesteps == LearningCurve().returns == LearningCurve().lengths == []
