"""Baselines' generator of segments, for code that was written for Baselines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from common import seeding
from common.rollouts.collector import Collector
from common.rollouts.segment import Segment, add_values, drop_env_axis
from common.rollouts.sequences import SequenceEvaluator
from common.validation import check_int_argument
from common.vec_env.action_masks import with_masks_for

if TYPE_CHECKING:
    import gymnasium as gym

    from common.policies.base import Policy


def traj_segment_generator(
    pi: Policy, env: gym.Env | gym.vector.VectorEnv, horizon: int, stochastic: bool, seed: int | None = None
) -> Iterator[Segment]:
    """Baselines' generator of segments, for code that was written for Baselines.

    Yields:
        A dict with `ob`, `rew`, `vpred`, `new`, `ac`, `prevac`, `nextvpred`, `ep_rets`, `ep_lens`, `final_vpred` and
        the other keys of `Segment`, ready for `add_vtarg_and_adv`. Arrays are [T, ...] for an `Env`, [T, K, ...] for a
        `VectorEnv`. Time limits bootstrap through `final_vpred`.

    Raises:
        UserError: for an invalid `horizon` or `seed`.
    """
    collector = Collector(with_masks_for(pi, env), pi, check_int_argument("horizon", horizon, 1), stochastic)
    seed = int(np.random.randint(2**31)) if seed is None else check_int_argument("seed", seed)
    collector.reset(seeding.environment_seeds(seed, 0, collector.num_envs, 0))
    evaluator = SequenceEvaluator(pi, collector.steps, collector.num_envs) if pi.recurrent else None
    iteration = 0
    while True:
        seg = collector.collect(seeding.generator(seed, seeding.ACTIONS, 0, iteration))
        if evaluator is not None:
            evaluator.add_values(seg)
        else:
            add_values(seg, pi.values)
        yield drop_env_axis(seg) if collector.adapter.squeeze else seg
        iteration += 1
