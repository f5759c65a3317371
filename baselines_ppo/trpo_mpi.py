"""TRPO (Schulman et al. 2015, "Trust Region Policy Optimization"): `learn` and its natural-gradient step."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import TRPOSettings
from baselines_ppo.objectives import probability_ratio, unclipped_surrogate
from baselines_ppo.value_fit import ValueFunctionFitter, split_variables
from common.compilation import Compiled, Shared
from common.diagnostics import minibatch_bisect
from common.errors import NonFiniteError
from common.mpi_adam import get_flat, set_from_flat
from common.optim.conjugate_gradient import conjugate_gradient
from common.optim.fisher_product import fisher_product
from common.optim.minibatch_step import Tensors
from common.policies.base import Policy
from common.policies.policy_pair import PolicyFn
from common.rollouts.advantages import add_vtarg_and_adv, standardise
from common.rollouts.segment import Batch, Segment
from common.rollouts.segment_generator import traj_segment_generator  # noqa: F401  Baselines' users import it from here
from common.training.callbacks import Callback
from common.training.stopping import StopCriteria

MAX_HALVINGS = 10  # of the step in the line search; then no step is made
TERM_NAMES = ("the objective", "the surrogate", "the KL", "the entropy")  # each is computed from those after it


def learn(
    env: gym.Env | gym.vector.VectorEnv | str,
    policy_fn: PolicyFn | str,
    *,
    timesteps_per_batch: int = TRPOSettings.timesteps_per_batch,
    max_kl: float = TRPOSettings.max_kl,
    cg_iters: int = TRPOSettings.cg_iters,
    gamma: float = TRPOSettings.gamma,
    lam: float = TRPOSettings.lam,
    entcoeff: float = TRPOSettings.entcoeff,
    cg_damping: float = TRPOSettings.cg_damping,
    vf_stepsize: float = TRPOSettings.vf_stepsize,
    vf_iters: int = TRPOSettings.vf_iters,
    max_timesteps: int = 0,
    max_episodes: int = 0,
    max_iters: int = 0,
    max_seconds: float = 0,
    callback: Callback | Callable[..., Any] | list[Any] | None = None,
    seed: int | None = None,
    **options: Any,
) -> Policy:
    """Train a policy by TRPO (https://arxiv.org/abs/1502.05477) on all ranks: Baselines' `trpo_mpi.learn`.

    Args:
        env, policy_fn, max_timesteps ... seed: as in `pposgd_simple.learn`.
        timesteps_per_batch ... vf_iters: fields of `TRPOSettings`, which documents them.
        options: other fields of `TRPOSettings` and of `RunOptions`, such as `cg_stride` or `run_dir`.

    Returns:
        The trained policy.

    Raises:
        UserError: before the first step, for an invalid setting, space or environment.
        EnvError, NonFiniteError: during the training, for an environment that fails or a number that is not finite.
    """
    algorithm_kwargs = {
        "timesteps_per_batch": timesteps_per_batch,
        "max_kl": max_kl,
        "cg_iters": cg_iters,
        "gamma": gamma,
        "lam": lam,
        "entcoeff": entcoeff,
        "cg_damping": cg_damping,
        "vf_stepsize": vf_stepsize,
        "vf_iters": vf_iters,
    }
    limits = StopCriteria(max_timesteps, max_episodes, max_iters, max_seconds)
    with AlgorithmSetup(TRPOSettings, algorithm_kwargs, options, limits, env, policy_fn, seed, callback) as setup:
        update = TRPOUpdate(setup)
        with setup.training(update) as training:
            for _ in training.iterations():
                seg = training.collect()  # run pi_old for T steps in each environment
                setup.scale_rewards(seg)  # if returns are scaled
                setup.processor(seg)  # oldpi <- pi; V(s_t), and oldpi's distribution parameters at s_t
                add_vtarg_and_adv(seg, setup.settings.discount(training.progress), setup.settings.lam)  # A_t by GAE
                # the best step within the trust region
                losses = update(seg, training.minibatch_rng(), training.progress)
                training.end_iteration(seg, losses)  # statistics, log, checkpoint
    return setup.pi


class TRPOUpdate:
    """Maximises mean(r A) + entcoeff S subject to mean KL(pi_old || pi) <= max_kl, and fits the value function.

    Args:
        setup: the `AlgorithmSetup`.

    Attributes:
        variables: those that the action distribution depends on.
        value_fit: the `ValueFunctionFitter`; None if `vf_iters` is 0.
    """

    def __init__(self, setup: AlgorithmSetup[TRPOSettings]):
        self.pi = setup.pi
        self.settings = setup.settings
        self.comm = setup.comm
        self.processor = setup.processor
        self.variables, _ = split_variables(self.pi)
        s = self.settings
        self.value_fit = ValueFunctionFitter(setup, s.vf_stepsize, s.vf_iters, s.vf_batchsize) if s.vf_iters else None
        self._gradient = self._compiled(self._gradient_graph)
        self._fisher_product = self._compiled(self._fisher_product_graph)
        self._objective = self._compiled(self._objective_graph)

    def _compiled(self, graph: Callable[..., tf.Tensor]) -> Compiled:
        return Compiled(graph, self.pi.xla, self._shared(graph.__name__))

    def _shared(self, name: str) -> Shared | None:
        """The description by which trainings share the compiled method `name`, each with its own variables."""

        def of_network(network: Any) -> Callable[..., tf.Tensor]:
            other = copy.copy(self)
            other.pi, other.variables = network, [network.variables[i] for i in optimised]
            graph: Callable[..., tf.Tensor] = getattr(other, name)
            return graph

        shared: Shared | None = self.pi.shared((self.settings, name), of_network)
        optimised = []
        if shared is not None:
            optimised = [next(i for i, x in enumerate(shared.variables) if x is own) for own in self.variables]
        return shared

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}: what a checkpoint contains in addition to the policy."""
        return {"vf_adam": self.value_fit.adam} if self.value_fit else {}

    def compile_ahead(self) -> tuple[Callable[[], None], ...]:
        """Functions that compile before the first segment is there; no parameter changes."""
        batch = self.processor.dummy_batch()
        own = (functools.partial(self._compile_step, batch),)
        return own + ((functools.partial(self.value_fit.compile, batch),) if self.value_fit else ())

    def _compile_step(self, batch: Batch) -> None:
        valid, theta = np.ones(batch.ret.shape, bool), get_flat(self.variables)
        tensors, weights = self._tensors(batch, valid)
        self._gradient(tensors, weights)
        self._objective(tensors, weights, theta)
        self._fisher_product(*self._tensors(batch.map(self._every_nth), self._every_nth(valid)), theta)

    # ---- compiled functions; batch: {field of `Batch`: [N, ...]}, weights: [N]

    def _objective_terms(self, batch: Tensors, weights: tf.Tensor) -> tf.Tensor:
        """`TERM_NAMES`: [surrogate + entropy bonus, surrogate, KL, entropy]."""
        pdtype, flat = self.pi.pdtype, self.pi.outputs(batch["x"])[0]
        pd, oldpd = pdtype.pdfromflat(flat), pdtype.pdfromflat(batch["flatparam"])
        ratio = probability_ratio(pd.logp(batch["ac"]), oldpd.logp(batch["ac"]))
        kl = oldpd.kl(pd)
        surr, kl, ent = (
            tf.reduce_sum(weights * x) for x in (unclipped_surrogate(ratio, batch["atarg"], kl, None), kl, pd.entropy())
        )
        return tf.stack([surr + self.settings.entcoeff * ent, surr, kl, ent])

    def _gradient_graph(self, batch: Tensors, weights: tf.Tensor) -> tf.Tensor:
        """[P + 4]: gradient of the objective, and the four terms."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            terms = self._objective_terms(batch, weights)
            objective = terms[0]
        return tf.concat([get_flat(tape.gradient(objective, self.variables)), terms], axis=0)

    def _fisher_product_graph(self, batch: Tensors, weights: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        """The Fisher matrix times v [P]."""
        return fisher_product(self.pi.pdtype, lambda: self.pi.outputs(batch["x"])[0], self.variables, weights, v)

    def _objective_graph(self, batch: Tensors, weights: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Set the parameters to theta [P], and return the four terms there."""
        set_from_flat(self.variables, theta)
        return self._objective_terms(batch, weights)

    # ---- one iteration

    def __call__(self, seg: Segment, rng: np.random.Generator, progress: float) -> dict[str, float]:
        """Optimise on one segment. Collective.

        Args:
            seg: this rank's segment, processed, with advantages.
            rng: shuffles the minibatches of the value function.
            progress: not used; TRPO has no schedule.

        Returns:
            The numbers of `step`, and `loss_vf_loss`, the value loss of the last epoch.
        """
        batch, valid = self.processor.make_batch(seg)
        batch = replace(batch, atarg=standardise(batch.atarg, valid))
        stats = self.step(batch, valid)
        return stats | ({"loss_vf_loss": self.value_fit(batch, valid, rng)} if self.value_fit else {})

    def step(self, batch: Batch, valid: np.ndarray) -> dict[str, float]:
        """Make the policy's step. Collective.

        Args:
            batch: N samples.
            valid: [N] bool, the samples to use.

        Returns:
            Averaged over ranks: the losses and the KL over the segment after the step; `linesearch_halvings` of the
            step, `MAX_HALVINGS` if none was made; `improvement` of the objective, and `expected_improvement` by the
            linear model.
        """
        s = self.settings
        tensors = self._tensors(batch, valid)
        sample = self._tensors(batch.map(self._every_nth), self._every_nth(valid))
        theta = get_flat(self.variables).numpy()
        out = self.comm.mean(self._gradient(*tensors).numpy())
        grad, before = out[:-4].astype(np.float64), out[-4:]
        nonfinite_error = functools.partial(self._nonfinite_error, batch, tensors[1], before, theta)
        if not np.isfinite(out).all():
            bad = [f"{name} is {value}" for name, value in zip(TERM_NAMES, before) if not np.isfinite(value)]
            raise nonfinite_error(bad[-1] if bad else "the surrogate's gradient is not finite, though its terms are")

        def matvec(v: np.ndarray) -> np.ndarray:
            mean: np.ndarray = self.comm.mean(self._fisher_product(*sample, tf.constant(v, tf.float32)).numpy())
            product = mean + s.cg_damping * v
            if not np.isfinite(product).all():
                raise nonfinite_error(
                    "a product with the Fisher matrix is not finite, though the surrogate and its gradient are"
                )
            return product

        direction = conjugate_gradient(matvec, grad, s.cg_iters)
        curvature = direction @ matvec(direction)
        full_step = direction * np.sqrt(2 * s.max_kl / curvature) if curvature > 0 else np.zeros_like(direction)
        halvings, after = self._line_search(tensors, theta, full_step, before)
        return {
            "loss_pol_surr": -float(after[1]),
            "loss_pol_entpen": -s.entcoeff * float(after[3]),
            "loss_kl": float(after[2]),
            "loss_ent": float(after[3]),
            "linesearch_halvings": halvings,
            "improvement": float(after[0] - before[0]),
            "expected_improvement": float(grad @ full_step),
        }

    def _line_search(
        self, tensors: tuple[Tensors, tf.Tensor], theta: np.ndarray, full_step: np.ndarray, before: np.ndarray
    ) -> tuple[int, np.ndarray]:
        """Halve the step until the objective improves and the KL is at most max_kl; after MAX_HALVINGS, restore theta.

        Returns:
            (number of halvings, the four terms at the final parameters).
        """
        for halvings in range(MAX_HALVINGS + 1):
            candidate = theta + 0.5**halvings * full_step if halvings < MAX_HALVINGS else theta
            after = self.comm.mean(self._objective(*tensors, tf.constant(candidate, tf.float32)).numpy())
            if np.isfinite(after).all() and after[0] > before[0] and after[2] <= self.settings.max_kl:
                break
        return halvings, after

    def _nonfinite_error(
        self, batch: Batch, weights: tf.Tensor, before: np.ndarray, theta: np.ndarray, what: str
    ) -> NonFiniteError:
        """The error of a step at parameters theta [P] with terms `before` [4]; `what` describes it. Collective."""
        rows = batch.arrays() | {"weights": weights.numpy(), "rows": np.arange(len(batch.x), dtype=np.int32)}
        facts = {"minibatch": "the whole segment", "terms": dict(zip(TERM_NAMES, before.tolist()))}
        return minibatch_bisect.collective_nonfinite_error(
            self.comm, f"{what}, before the policy's step", rows, np.abs(theta).max(), facts
        )

    def _every_nth(self, x: np.ndarray) -> np.ndarray:
        """The samples of [N, ...] that Fisher-vector products use."""
        return x[:: self.settings.cg_stride]

    @staticmethod
    def _tensors(batch: Batch, valid: np.ndarray) -> tuple[Tensors, tf.Tensor]:
        """The batch as tensors, and the weights [N] that make a mean over the valid samples of a sum."""
        tensors = {name: tf.constant(x) for name, x in batch.arrays().items()}
        return tensors, tf.constant(valid / np.float32(max(valid.sum(), 1)))
