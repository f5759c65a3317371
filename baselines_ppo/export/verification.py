"""Inputs to compare an exported policy with the original one, and the measure of the difference."""

from __future__ import annotations

import copy

import numpy as np

from baselines_ppo.export.graph import EPISODE_START, NOISE, STATE
from baselines_ppo.export.observations import flatten_space, sample_observations
from common.envs.mask_layout import ACTION_MASK
from common.policies.base import Policy

MAX_CHANGED = 0.01  # part of the choices that may differ: those whose logits are equal to rounding


def example_inputs(pi: Policy, rows: int, rng: np.random.Generator, with_noise: bool) -> dict[str, np.ndarray]:
    """Draw inputs of an exported policy.

    Args:
        pi: the policy.
        rows: number of observations.
        rng: the generator.
        with_noise: whether to draw the noise of `sample`.

    Returns:
        {name: [rows, ...]}, with the names of `signature_specs`: observations near the filter's mean or from the space,
        masks without invalid actions, states and starts of episodes at random.
    """
    seed = int(rng.integers(1 << 31))
    space = copy.deepcopy(pi.network_space)  # seeding the caller's space would change its generator
    if pi.network_encoder.is_box:
        near = sample_observations(pi, rows, seed).reshape(rows, *(space.shape or ()))
        inputs = {"observation": near.astype(space.dtype)}
    else:
        space.seed(seed)
        leaves = flatten_space(space).items()
        inputs = {name: np.stack([leaf.sample() for _ in range(rows)]).astype(leaf.dtype) for name, leaf in leaves}
    if pi.masked:
        inputs[ACTION_MASK] = np.ones((rows, pi.pdtype.num_choices()), bool)
    if pi.recurrent:
        inputs[STATE] = rng.standard_normal((rows, pi.state_size), np.float32)
        inputs[EPISODE_START] = rng.random(rows) < 0.5
    if with_noise:
        inputs[NOISE] = pi.pdtype.noise(rng, (rows,))
    return inputs


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return how much two outputs differ.

    Numbers: the largest difference, divided by 1 plus the largest number. Choices: 0, or infinity if more of them
    differ than those few whose logits are equal to rounding. Infinity too for another shape or dtype.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return np.inf
    if not np.issubdtype(expected.dtype, np.floating):
        return np.inf if np.mean(found != expected) > MAX_CHANGED else 0.0
    both = np.stack([found, expected]).astype(np.float64)
    if not np.array_equal(*np.isfinite(both)):
        return np.inf
    both = np.nan_to_num(both)
    return float(np.max(np.abs(both[0] - both[1]), initial=0.0) / (1 + np.max(np.abs(both[1]), initial=0.0)))
