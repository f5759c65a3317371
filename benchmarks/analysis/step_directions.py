"""Compare the policy steps of Adam and TRPO on data that they have not seen.

    python -m benchmarks.analysis.step_directions --env Hopper-v4 HalfCheetah-v4

A policy is trained by TRPO for some iterations and then kept. Each method makes its step from the same parameters with each of six
rollouts; its change of the parameters is then scaled so that the KL on twenty-four other rollouts is 0.01. The improvement of the surrogate
mean((r - 1) A) is reported on these other rollouts, and on the rollout of the step. The difference of the two is fitted noise.

Adam begins with moments from eight other rollouts. Writes results/step-directions.md; takes about five minutes for each task.
"""

import argparse
import copy
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo import MlpPolicy
from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import PPOSettings, TRPOSettings
from baselines_ppo.pposgd_simple import PPOUpdate
from baselines_ppo.trpo_mpi import TRPOUpdate
from baselines_ppo.value_fit import split_variables
from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS
from common.mpi_adam import get_flat, set_from_flat
from common.policies.base import Policy
from common.rollouts.advantages import add_vtarg_and_adv, standardise
from common.rollouts.segment import Batch, Segment
from common.training.stopping import StopCriteria

NUM_ENVS = 8
STEPS = 2048
OWN, WARM_UP = 6, 8  # rollouts of the compared steps; rollouts from which Adam's moments begin
KL = 0.01
COMMON = {"lam": 0.9, "scale_returns": True}
TRPO = {"timesteps_per_batch": STEPS, "vf_iters": 20, "vf_stepsize": 1e-3, "vf_batchsize": 128, "cg_damping": 0.1}
PPO = {"timesteps_per_actorbatch": STEPS, "vf_iters": 1, "optim_batchsize": 128}


class Method(NamedTuple):
    """A way to make a step: an algorithm and its settings."""

    name: str
    settings_class: type[Any]
    update_class: type[Any]
    settings: dict[str, Any]


METHODS = (
    Method("TRPO, 25 iterations, all samples", TRPOSettings, TRPOUpdate, TRPO | {"cg_iters": 25, "cg_stride": 1}),
    Method("TRPO, 10 iterations, all samples", TRPOSettings, TRPOUpdate, TRPO | {"cg_iters": 10, "cg_stride": 1}),
    Method("TRPO, 10 iterations, a quarter", TRPOSettings, TRPOUpdate, TRPO | {"cg_iters": 10, "cg_stride": 4}),
    Method(
        "TRPO, 25 iterations, damping 1",
        TRPOSettings,
        TRPOUpdate,
        TRPO | {"cg_iters": 25, "cg_stride": 1, "cg_damping": 1.0},
    ),
    Method("Adam 3e-4, minibatches of 128", PPOSettings, PPOUpdate, PPO | {"optim_stepsize": 3e-4}),
    Method("Adam 1e-4, minibatches of 128", PPOSettings, PPOUpdate, PPO | {"optim_stepsize": 1e-4}),
    Method(
        "Adam 1e-3, whole rollout, 20 epochs",
        PPOSettings,
        PPOUpdate,
        PPO | {"optim_stepsize": 1e-3, "optim_batchsize": None, "optim_epochs": 20},
    ),
)


def make_setup(method: Method, env: gym.vector.VectorEnv, seed: int, iterations: int) -> AlgorithmSetup[Any]:
    """Set up a call of `learn` by a method."""

    def policy_fn(name: str, ob_space: gym.Space[Any], ac_space: gym.Space[Any]) -> MlpPolicy:
        return MlpPolicy(name, ob_space, ac_space, init="orthogonal", init_logstd=-1.0, ob_min_std=1e-4)

    limits = StopCriteria(max_iters=iterations)
    return AlgorithmSetup(method.settings_class, method.settings | COMMON, {}, limits, env, policy_fn, seed, None)


def collect(env: gym.vector.VectorEnv, seed: int, iterations: int, rollouts: int) -> tuple[Policy, list[Segment]]:
    """Train for some iterations, then only collect, and fit the value function: the policy, and its processed segments."""
    setup = make_setup(METHODS[2], env, seed, iterations + rollouts)
    update, segments = TRPOUpdate(setup), []
    with setup.training(update) as training:
        for _ in training.iterations():
            seg = training.collect()
            setup.scale_rewards(seg)
            setup.processor(seg)
            add_vtarg_and_adv(seg, setup.settings.gamma, setup.settings.lam)
            if training.iters_so_far < iterations:
                losses = update(seg, training.minibatch_rng(), training.progress)
            else:
                segments.append(copy.deepcopy(seg))
                valid = seg["valid"].reshape(-1)
                losses = {"loss_vf_loss": update.value_fit(Batch.from_segment(seg), valid, training.minibatch_rng())}
            training.end_iteration(seg, losses)
    return setup.pi, segments


def surrogate_terms(pi: Policy, segments: Sequence[Segment]) -> Callable[[np.ndarray], tuple[float, float]]:
    """A function (policy parameters) -> (mean((r - 1) A), mean KL) over the valid samples of some segments."""
    rows = []
    for seg in segments:
        valid = seg["valid"].reshape(-1)
        batch = Batch.from_segment(seg)
        rows.append([x[valid] for x in (batch.x, batch.ac, batch.flatparam, standardise(batch.atarg, valid))])
    x, ac, flatparam, atarg = (tf.constant(np.concatenate(parts)) for parts in zip(*rows))
    variables = split_variables(pi)[0]

    @tf.function(jit_compile=True, autograph=False)
    def terms() -> tuple[tf.Tensor, tf.Tensor]:
        old, new = pi.pdtype.pdfromflat(flatparam), pi.pdtype.pdfromflat(pi.forward(x)[0])
        ratio = tf.exp(new.logp(ac) - old.logp(ac))
        return tf.reduce_mean((ratio - 1) * atarg), tf.reduce_mean(old.kl(new))

    def at(theta: np.ndarray) -> tuple[float, float]:
        set_from_flat(variables, tf.constant(theta, tf.float32))
        improvement, kl = terms()
        return float(improvement), float(kl)

    return at


def steps(
    method: Method, env: gym.vector.VectorEnv, pi: Policy, segments: Sequence[Segment]
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (change of the policy's parameters, seconds) of the method on each of the first `OWN` segments."""
    setup = make_setup(method, env, 0, 1)
    update, start = method.update_class(setup), pi.state()
    variables = split_variables(setup.pi)[0]
    warm_up = segments[OWN : OWN + WARM_UP]
    for i, seg in enumerate([*warm_up, *segments[:OWN]]):
        setup.pi.restore(start)
        before, began = get_flat(variables).numpy(), time.perf_counter()
        update(seg, np.random.default_rng(i), 0.0)
        if i >= len(warm_up):
            yield get_flat(variables).numpy() - before, time.perf_counter() - began


def scale_to_kl(terms: Callable[[np.ndarray], tuple[float, float]], theta: np.ndarray, change: np.ndarray) -> float:
    """The factor of a change of the parameters theta with which the KL is `KL`."""
    factor = 1.0
    for _ in range(12):  # the KL is almost quadratic
        factor *= np.sqrt(KL / max(terms(theta + factor * change)[1], 1e-12))
    return float(factor)


def compare(env_id: str, seed: int, iterations: int, rollouts: int) -> list[tuple[str, ...]]:
    """The rows of one task."""
    same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    env = gym.make_vec(env_id, NUM_ENVS, vectorization_mode="sync", vector_kwargs=same_step)
    pi, segments = collect(env, seed, iterations, rollouts)
    theta = get_flat(split_variables(pi)[0]).numpy()
    others = surrogate_terms(pi, segments[OWN:])
    rows = []
    for method in METHODS:
        found = []
        changes = list(steps(method, env, pi, segments))
        for seg, (change, seconds) in zip(segments, changes):
            raw_improvement, raw_kl = others(theta + change)
            scaled = theta + scale_to_kl(others, theta, change) * change
            found.append((others(scaled)[0], surrogate_terms(pi, [seg])(scaled)[0], raw_kl, raw_improvement, seconds))
        numbers = np.array(found)
        mean, error = numbers.mean(axis=0), numbers.std(axis=0, ddof=1) / np.sqrt(len(numbers))
        rows.append(
            (
                env_id,
                method.name,
                f"{mean[0]:.4f} ± {error[0]:.4f}",
                f"{mean[1]:.3f}",
                f"{mean[2]:.4f}",
                f"{mean[3]:.4f}",
            )
        )
        print(" | ".join(rows[-1]), f"| {np.median(numbers[:, 4]) * 1e3:.0f} ms", flush=True)
        set_from_flat(split_variables(pi)[0], tf.constant(theta))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=["Hopper-v4", "HalfCheetah-v4"], metavar="ID", help="tasks")
    parser.add_argument("--seed", type=int, default=901)
    parser.add_argument("--iterations", type=int, default=80, help="of training, of 2,048 steps each [80]")
    parser.add_argument("--rollouts", type=int, default=OWN + 24, help="of the kept policy [30]")
    args = parser.parse_args()
    if args.rollouts <= OWN + WARM_UP:
        parser.error(f"invalid --rollouts {args.rollouts}: must be at least {OWN + WARM_UP + 1}")
    rows = [row for env_id in args.env for row in compare(env_id, args.seed, args.iterations, args.rollouts)]
    columns = (
        "task",
        "step",
        f"improvement on other rollouts at a KL of {KL:g}",
        "on its own rollout",
        "KL of the step itself",
        "improvement of the step itself, on other rollouts",
    )
    (RESULTS / "step-directions.md").write_text(
        f"""# Steps of the policy on data that they have not seen

Written by `python -m benchmarks.analysis.step_directions`: one policy per task, seed {args.seed}, trained by TRPO for {args.iterations} iterations of 2,048 steps. Each method makes
a step with each of {OWN} rollouts of 2,048 steps. The change of the parameters is scaled to a KL of {KL:g} on the other {args.rollouts - OWN} rollouts. The improvement is that of
mean((r - 1) A), with standardised advantages; ± is the standard error over the {OWN} steps. TensorFlow {tf.__version__},
{platform.platform()}.

{markdown_table(columns, rows)}
"""
    )


if __name__ == "__main__":
    main()
