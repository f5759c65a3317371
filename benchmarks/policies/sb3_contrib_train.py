"""One training of `COMPARED` by sb3-contrib's RecurrentPPO or MaskablePPO. Started by peers.py, with the peers' Python.

Prints the same as train.py. The networks are the same: an LSTM of 64 units that policy and value function share, then
two separate bodies of two layers of 64 tanh units.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from benchmarks.policies.tasks import TASKS, EpisodeLog, LoggedEpisodes
from benchmarks.policies.train import EPISODES, EVALUATION_SEED, History, build_parser, report
from benchmarks.policies.trainings import COMPARED, NUM_ENVS, Training, sb3_contrib_settings


def make_model(training: Training, env: Any, seed: int) -> Any:
    """The untrained model, with a learning rate that decays linearly to 0."""
    from sb3_contrib import MaskablePPO, RecurrentPPO

    settings = sb3_contrib_settings(training)
    rate = settings.pop("learning_rate")
    settings |= {"learning_rate": lambda remaining: rate * remaining, "seed": seed, "device": "cpu"}
    memory = training.policy_settings.get("memory")
    if memory is None:
        return MaskablePPO("MlpPolicy", env, **settings)
    networks = {
        "lstm_hidden_size": training.policy_settings["memory_size"],
        "shared_lstm": True,
        "enable_critic_lstm": False,
    }
    return RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=networks, **settings)


def normalised(env: Any, training: Training) -> Any:
    """The vector environment, with normalised observations and scaled rewards if the training has them."""
    from stable_baselines3.common.vec_env import VecNormalize

    observations = training.policy_settings["normalise_ob"]
    rewards = training.learn_settings().get("scale_returns", False)
    if not observations and not rewards:
        return env
    gamma = training.learn_settings()["gamma"]
    return VecNormalize(env, norm_obs=observations, norm_reward=rewards, clip_obs=5.0, gamma=gamma)


def evaluate(model: Any, env: Any, seed: int, normalise: Callable[[Any], Any]) -> list[float]:
    """Returns of deterministic episodes, for observations that `normalise` changes."""
    import numpy as np

    returns = []
    has_masks = hasattr(env.unwrapped, "action_masks")
    ob, _ = env.reset(seed=seed)
    for _ in range(EPISODES):
        state, start, ended, total = None, True, False, 0.0
        while not ended:
            if has_masks:
                action, _ = model.predict(ob, action_masks=env.unwrapped.action_masks(), deterministic=True)
            else:
                action, state = model.predict(normalise(ob), state, np.array([start]), deterministic=True)
            ob, reward, terminated, truncated, _ = env.step(action)
            start, ended, total = False, terminated or truncated, total + float(reward)
        returns.append(total)
        ob, _ = env.reset()
    return returns


def main() -> None:
    args = build_parser(__doc__).parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    training = COMPARED[args.training]
    log, make_env = EpisodeLog(), TASKS[training.task]
    env = normalised(DummyVecEnv([lambda: LoggedEpisodes(make_env(), log)] * NUM_ENVS), training)
    history = History()

    class Clock(BaseCallback):
        """Notes the time after each update."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            history.add(self.num_timesteps)

        def _on_training_end(self) -> None:
            history.add(self.num_timesteps)

    model = make_model(training, env, args.seed)
    model.learn(args.steps or training.steps, callback=Clock())
    normalise = getattr(env, "normalize_obs", lambda ob: ob)
    returns = evaluate(model, make_env(), EVALUATION_SEED + args.seed, normalise)
    print(json.dumps(report(training, history, log, returns)))


if __name__ == "__main__":
    main()
