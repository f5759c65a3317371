"""Runs whole episodes of a policy, and returns what they scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common import seeding
from common.diagnostics.nonfinite import is_finite
from common.envs.monitor import find_monitor
from common.errors import EnvError, UserError
from common.policies.inputs.memory import Memory, make_actor
from common.rollouts.episodes import MAX_EPISODE_STEPS
from common.validation import check_int_argument
from common.vec_env.adapter import VectorEnvAdapter

if TYPE_CHECKING:
    from common.distributed.heartbeat import Heartbeat
    from common.policies.base import Policy

NOISE_BLOCK = 1000  # time steps for which noise is drawn at once


def evaluate(
    pi: Policy, env: Any, episodes: int, stochastic: bool, seed: int = 0, heartbeat: Heartbeat | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Run whole episodes of one environment.

    Args:
        pi: the policy.
        env: a `gymnasium.Env` made with `training=False`, so that rewards are the environment's own.
        episodes: how many.
        stochastic: sample actions; otherwise take the mode of the action distribution.
        seed: of the environment's first reset and of the actions.
        heartbeat: its `step` counts the steps.

    Returns:
        (returns, lengths), float64 and int arrays [episodes].

    Raises:
        UserError: if an episode does not end, or for an invalid argument.
        EnvError: for an error of the environment, or an invalid observation or reward.
    """
    episodes, seed = check_int_argument("episodes", episodes, 1), check_int_argument("seed", seed)
    rng = seeding.generator(seed, seeding.EVALUATION)
    adapter = VectorEnvAdapter(env, pi.encoder)
    obs = np.empty((2, 1, *pi.encoder.shape), pi.encoder.dtype)
    rew, valid = np.zeros((1, 1)), np.ones((1, 1), bool)
    obs[1] = adapter.reset([seed])
    returns, lengths = np.zeros(episodes), np.zeros(episodes, int)
    memory = Memory(1, pi.state_size) if pi.recurrent else None
    monitor = find_monitor(env)
    for episode in range(episodes):
        ended: Any = False
        while not ended:
            obs[0] = obs[1]
            _check_finite("observation", obs[0], adapter, episode, lengths[episode])
            t = lengths[episode] % NOISE_BLOCK
            if t == 0:
                if memory is not None and lengths[episode] == 0:
                    memory.start[:] = True
                act = make_actor(pi, 1, pi.pdtype.noise(rng, (NOISE_BLOCK, 1)) if stochastic else None, memory)
            ended = adapter.step(act(obs[0], t), 0, obs, rew, valid)
            _check_finite("reward", rew, adapter, episode, lengths[episode])
            returns[episode] += rew[0, 0]
            lengths[episode] += 1
            if heartbeat is not None:
                heartbeat.step += 1
            if lengths[episode] >= MAX_EPISODE_STEPS:
                raise UserError(
                    f"an episode has not ended after {MAX_EPISODE_STEPS:,} steps; evaluation needs episodes that end: "
                    "wrap the environment in a gymnasium.wrappers.TimeLimit"
                )
        if monitor is not None:
            monitor.take_episodes()  # otherwise it would keep the episodes of every evaluation of a training
    return returns, lengths


def _check_finite(name: str, values: np.ndarray, adapter: VectorEnvAdapter, episode: int, step: int) -> None:
    """Raise EnvError if an observation or a reward is not finite."""
    if not is_finite(values):
        raise EnvError(
            f"returned a{'n' if name == 'observation' else ''} {name} that is not finite",
            env_id=getattr(adapter.env.spec, "id", None),
            position=f"at step {step} of episode {episode}",
        )
