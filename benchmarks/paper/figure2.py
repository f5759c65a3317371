"""Figure 2 of the PPO paper: surrogate objectives and KL along the line from the old to the new parameters of one update.

    python -m benchmarks.paper.figure2     the first update on Hopper-v4 with the settings of the paper: results/figure2.png
    python -m benchmarks.paper.figure2 --env Walker2d-v4 --iteration 10 --objective unclipped

Schulman et al. 2017, figure 2.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from baselines_ppo.config.settings import SURROGATES
from benchmarks.paths import RESULTS
from benchmarks.returns.figures import headless_pyplot


def interpolate(env_id: str, iteration: int, objective: str, seed: int) -> dict[str, list[float]]:
    """Means over the segment at points of the line theta_old + a (theta_new - theta_old).

    Args:
        env_id: Gymnasium id.
        iteration: which update, counted from 1.
        objective: of the update.
        seed: of the training.

    Returns:
        {"a": points, "KL": ..., "unclipped": E[r A], "clipped ratio": E[clip(r) A], "clip": E[min(r A, clip(r) A)]}, a list each.
    """
    import numpy as np
    import tensorflow as tf

    from baselines_ppo import MlpPolicy
    from baselines_ppo.algorithm_setup import AlgorithmSetup
    from baselines_ppo.config.settings import PPOSettings
    from baselines_ppo.objectives import probability_ratio
    from baselines_ppo.pposgd_simple import PPOUpdate
    from common.mpi_adam import get_flat, set_from_flat
    from common.rollouts.advantages import add_vtarg_and_adv
    from common.training.stopping import StopCriteria
    from common.vec_env.factory import make_vector_env

    setup = AlgorithmSetup(
        PPOSettings,
        {"objective": objective},
        {},
        StopCriteria(max_iters=iteration),
        make_vector_env(env_id, 1),
        MlpPolicy,
        seed,
        None,
    )
    update, settings = PPOUpdate(setup), setup.settings
    training = setup.begin(update)
    for _ in training.iterations():
        seg = training.collect()
        setup.processor(seg)
        add_vtarg_and_adv(seg, settings.gamma, settings.lam)
        batch, _ = update.make_batch(seg)
        old = get_flat(setup.pi.get_trainable_variables()).numpy()
        training.end_iteration(seg, update(seg, training.minibatch_rng(), training.progress))
    new, pdtype = get_flat(setup.pi.get_trainable_variables()).numpy(), setup.pi.pdtype
    found = {name: [] for name in ("a", "KL", "unclipped", "clipped ratio", "clip")}
    for a in np.linspace(-0.5, 2, 51):
        set_from_flat(setup.pi.get_trainable_variables(), tf.constant(old + a * (new - old), tf.float32))
        pd, oldpd = pdtype.pdfromflat(setup.pi.forward(batch.x)[0]), pdtype.pdfromflat(batch.flatparam)
        ratio = probability_ratio(pd.logp(batch.ac), oldpd.logp(batch.ac)).numpy()
        clipped = np.clip(ratio, 1 - settings.clip_param, 1 + settings.clip_param)
        unclipped_terms, clipped_terms = ratio * batch.atarg, clipped * batch.atarg
        surrogates = (
            term.mean() for term in (unclipped_terms, clipped_terms, np.minimum(unclipped_terms, clipped_terms))
        )
        values = (a, oldpd.kl(pd).numpy().mean(), *surrogates)
        for name, value in zip(found, values):
            found[name].append(float(value))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--iteration", type=int, default=1, help="number of the update [1]")
    parser.add_argument("--objective", default="clip", choices=tuple(SURROGATES), help="objective of the update [clip]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "figure2.png")
    args = parser.parse_args()
    if args.iteration < 1:
        parser.error(f"invalid --iteration {args.iteration}: must be at least 1")
    from common.runtime.tf_import import import_tensorflow

    import_tensorflow(threads=len(os.sched_getaffinity(0)))
    found = interpolate(args.env, args.iteration, args.objective, args.seed)
    labels = {
        "KL": "E[KL(old || new)]",
        "unclipped": "L CPI = E[r A]",
        "clipped ratio": "E[clip(r, 1 - eps, 1 + eps) A]",
        "clip": "L CLIP",
    }
    pyplot = headless_pyplot()
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, label in labels.items():
        axes.plot(found["a"], found[name], label=label)
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("linear interpolation factor (0: old parameters, 1: new)")
    axes.set_title(f"{args.env}, update {args.iteration}", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(args.out, dpi=120)
    args.out.with_suffix(".json").write_text(json.dumps(found) + "\n")
    at_one = found["a"].index(min(found["a"], key=lambda a: abs(a - 1)))
    print(
        ", ".join(f"{label} {found[name][at_one]:.4f}" for name, label in labels.items()),
        f"at the new parameters  ->  {args.out}",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
