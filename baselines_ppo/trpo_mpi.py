"""TRPO (Schulman et al. 2015, "Trust Region Policy Optimization"): `learn`, and the natural-gradient step it makes."""

import copy
import functools

import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import TRPOSettings
from baselines_ppo.objectives import probability_ratio, unclipped_surrogate
from baselines_ppo.value_fit import ValueFunctionFitter, split_variables
from common.compilation import Compiled
from common.diagnostics import minibatch_bisect
from common.mpi_adam import get_flat, set_from_flat
from common.optim.conjugate_gradient import conjugate_gradient
from common.rollouts.advantages import add_vtarg_and_adv, standardise
from common.rollouts.collector import traj_segment_generator  # noqa: F401  Baselines' users import it from here
from common.training.stopping import StopCriteria

MAX_HALVINGS = 10  # of a step, before none is made
TERMS = ("the objective", "the surrogate", "the KL", "the entropy")  # the last that is not finite is where it begins


def learn(
    env,
    policy_fn,
    *,
    timesteps_per_batch=1024,
    max_kl=0.01,
    cg_iters=10,
    gamma=0.99,
    lam=0.98,
    entcoeff=0.0,
    cg_damping=1e-2,
    vf_stepsize=3e-4,
    vf_iters=3,
    max_timesteps=0,
    max_episodes=0,
    max_iters=0,
    max_seconds=0,
    callback=None,
    seed=None,
    **options,
):
    """Train a policy by TRPO on all ranks of the job; Baselines' `trpo_mpi.learn`.

    Args:
        env, policy_fn, max_timesteps, max_episodes, max_iters, max_seconds, callback, seed: as `pposgd_simple.learn` has them.
        timesteps_per_batch: steps of a segment, per rank, over its environments.
        max_kl, cg_iters, gamma, lam, entcoeff, cg_damping, vf_stepsize, vf_iters: see `TRPOSettings`.
        options: further fields of `TRPOSettings`: cg_stride, vf_batchsize, scale_returns, bootstrap_time_limits; and `learner.RunOptions`.

    Returns:
        pi, trained.

    Raises:
        UserError: before the first step, for any setting, space or environment that cannot be.
    """
    given = {
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
    learner = AlgorithmSetup(TRPOSettings, given, options, limits, env, policy_fn, seed, callback)
    update = TRPOUpdate(learner)
    with learner.training(update) as training:
        for _ in training.iterations():
            seg = training.collect()  # run pi_old for T steps in every environment
            learner.scale(seg)  # rewards, if returns are to be scaled
            learner.evaluate(seg)  # oldpi <- pi; V(s_t), and oldpi's parameters at s_t
            add_vtarg_and_adv(seg, learner.settings.gamma, learner.settings.lam)  # A_1 ... A_T by GAE
            terms = update(seg, training.minibatch_rng(), training.progress)  # the best step within the trust region
            training.finish(seg, terms)
    return learner.pi


class TRPOUpdate:
    """Maximise mean(r A) subject to mean KL(pi_old || pi) <= max_kl; fit the value function.

    Args:
        learner: the `AlgorithmSetup`.
    """

    def __init__(self, learner):
        self.pi, self.settings, self.comm, self.evaluate = learner.pi, learner.settings, learner.comm, learner.evaluate
        self.variables, _ = split_variables(self.pi)
        s = self.settings
        self.value_fit = ValueFunctionFitter(learner, s.vf_stepsize, s.vf_iters, s.vf_batchsize) if s.vf_iters else None
        self._gradient, self._product, self._objective = (
            Compiled(graph, self.pi.xla, self._shared(graph.__name__))
            for graph in (self._gradient_graph, self._product_graph, self._objective_graph)
        )

    def _shared(self, graph):
        """How trainings share the compiled method `graph`, over any variables."""

        def of_network(network):
            other = copy.copy(self)
            other.pi, other.variables = network, [network.variables[i] for i in moved]
            return getattr(other, graph)

        shared = self.pi.shared((self.settings, graph), of_network)
        moved = (
            [next(i for i, x in enumerate(shared.variables) if x is moving) for moving in self.variables]
            if shared
            else []
        )
        return shared

    def parts(self):
        """What a checkpoint must hold beside the policy."""
        return {"vf_adam": self.value_fit.adam} if self.value_fit else {}

    def compile_ahead(self):
        """Functions () -> None that compile ahead of the first segment; nothing moves."""
        batch = self.evaluate.dummy_batch()
        own = (functools.partial(self._compile_step, batch),)
        return own + ((functools.partial(self.value_fit.compile, batch),) if self.value_fit else ())

    def _compile_step(self, batch):
        tensors, weights = self._tensors(batch, np.ones(len(batch["x"]), bool))
        theta = get_flat(self.variables)
        self._gradient(tensors, weights)
        self._objective(tensors, weights, theta)
        self._product(
            *self._tensors(self._every_nth(batch), np.ones(len(batch["x"][:: self.settings.cg_stride]), bool)), theta
        )

    # ---- compiled

    def _kl(self, batch, weights):
        pdtype, flat = self.pi.pdtype, self.pi.forward(batch["x"])[0]
        return tf.reduce_sum(weights * pdtype.pdfromflat(batch["flatparam"]).kl(pdtype.pdfromflat(flat)))

    def _terms(self, batch, weights):
        """[surrogate and entropy bonus, surrogate, KL, entropy]."""
        pdtype, flat = self.pi.pdtype, self.pi.forward(batch["x"])[0]
        pd, oldpd = pdtype.pdfromflat(flat), pdtype.pdfromflat(batch["flatparam"])
        ratio = probability_ratio(pd.logp(batch["ac"]), oldpd.logp(batch["ac"]))
        kl = oldpd.kl(pd)
        surr, kl, ent = (
            tf.reduce_sum(weights * x) for x in (unclipped_surrogate(ratio, batch["atarg"], kl, None), kl, pd.entropy())
        )
        return tf.stack([surr + self.settings.entcoeff * ent, surr, kl, ent])

    def _gradient_graph(self, batch, weights):
        """[gradient of the objective [P], the four terms]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            terms = self._terms(batch, weights)
            objective = terms[0]
        return tf.concat([get_flat(tape.gradient(objective, self.variables)), terms], axis=0)

    def _product_graph(self, batch, weights, v):
        """The Fisher matrix times v [P]: the gradient of (gradient of the KL, v). Schulman et al. 2015, appendix C.1."""
        parts = [
            tf.reshape(part, x.shape)
            for part, x in zip(tf.split(v, [x.shape.num_elements() for x in self.variables]), self.variables)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(self.variables)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(self.variables)
                kl = self._kl(batch, weights)
            along = tf.add_n([tf.reduce_sum(g * part) for g, part in zip(inner.gradient(kl, self.variables), parts)])
        return get_flat(outer.gradient(along, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO))

    def _objective_graph(self, batch, weights, theta):
        """The four terms with the parameters at theta [P], where they stay."""
        set_from_flat(self.variables, theta)
        return self._terms(batch, weights)

    # ---- one iteration

    def __call__(self, seg, rng, progress):
        """Optimise on one segment.

        Args:
            seg: this rank's segment, evaluated, with advantages.
            rng: generator that shuffles the value function's minibatches.
            progress: not used; TRPO has no schedule.

        Returns:
            {name: number}, the mean over ranks: the terms over the whole segment after the step; `linesearch_halvings`, of the step,
            `MAX_HALVINGS` where none was made; `improvement` of the objective, and the linear model's `expected_improvement`.
        """
        valid = seg["valid"].reshape(-1)
        batch = self.evaluate.batch(seg)
        batch["atarg"] = standardise(batch["atarg"], valid)
        stats = self.step(batch, valid)
        vf_loss = self.value_fit(batch, valid, rng) if self.value_fit else float("nan")
        return stats | ({"loss_vf_loss": vf_loss} if self.value_fit else {})

    def step(self, batch, valid):
        """The policy's step on a batch {name: [N, ...]}, of which the rows `valid` [N] count; returns its part of what a call does."""
        s, comm = self.settings, self.comm
        tensors = self._tensors(batch, valid)
        sample = self._tensors(self._every_nth(batch), valid[:: s.cg_stride])

        theta = get_flat(self.variables).numpy()
        found = comm.mean(self._gradient(*tensors).numpy())
        grad, before = found[:-4].astype(np.float64), found[-4:]

        def error(what):
            rows = batch | {"weights": tensors[1].numpy(), "rows": np.arange(len(valid), dtype=np.int32)}
            facts = {"minibatch": "the whole segment", "terms": dict(zip(TERMS, before.tolist()))}
            return minibatch_bisect.collective_nonfinite_error(
                comm, f"{what}, before the policy's step", rows, np.abs(theta).max(), facts
            )

        def product(v):
            image = comm.mean(self._product(*sample, tf.constant(v, tf.float32)).numpy()) + s.cg_damping * v
            if not np.isfinite(image).all():
                raise error("a product with the Fisher matrix is not finite, though the surrogate and its gradient are")
            return image

        if not np.isfinite(found).all():
            bad = [f"{name} is {value}" for name, value in zip(TERMS, before) if not np.isfinite(value)]
            raise error(bad[-1] if bad else "the surrogate's gradient is not finite, though its terms are")
        direction = conjugate_gradient(product, grad, s.cg_iters)
        curvature = direction @ product(direction)
        full = direction * np.sqrt(2 * s.max_kl / curvature) if curvature > 0 else np.zeros_like(direction)
        for halvings in range(MAX_HALVINGS + 1):
            there = theta + 0.5**halvings * full if halvings < MAX_HALVINGS else theta
            after = comm.mean(self._objective(*tensors, tf.constant(there, tf.float32)).numpy())
            if np.isfinite(after).all() and after[0] > before[0] and after[2] <= s.max_kl:
                break
        return {
            "loss_pol_surr": -float(after[1]),
            "loss_pol_entpen": -s.entcoeff * float(after[3]),
            "loss_kl": float(after[2]),
            "loss_ent": float(after[3]),
            "linesearch_halvings": halvings,
            "improvement": float(after[0] - before[0]),
            "expected_improvement": float(grad @ full),
        }

    def _every_nth(self, batch):
        return {name: x[:: self.settings.cg_stride] for name, x in batch.items()}

    @staticmethod
    def _tensors(batch, valid):
        """The batch, and weights that make a mean of a sum over the rows that count."""
        return {name: tf.constant(x) for name, x in batch.items()}, tf.constant(valid / np.float32(max(valid.sum(), 1)))
