"""The steps of PPO's policy: Adam with a scheduled step size, or natural gradients with a scheduled KL."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from baselines_ppo.algorithm_setup import AlgorithmSetup
from baselines_ppo.config.settings import PPOSettings
from baselines_ppo.value_fit import split_variables, value_lr_multipliers
from common.compilation import Compiled, Shared
from common.diagnostics import minibatch_bisect
from common.distributions import TensorFlowOperators
from common.errors import UserError
from common.mpi_adam import MpiAdam, get_flat, set_from_flat
from common.optim.kfac import Kfac, second_moments, split_factors
from common.optim.minibatch_step import Tensors
from common.policies.base import Policy
from common.policies.networks import RecordingNetwork
from common.policies.variables import NetworkView
from common.rollouts.segment import Batch

LOGSTD_INFORMATION = 2.0  # Fisher information of a Gaussian about its log std
MAX_CORRECTION = 2.0  # of the step size, between two iterations
MAX_EXCESS = 1.5  # of an iteration's KL over the wanted one


class AdamStep:
    """Adam on the policy's variables, and on the value function's unless it is fitted separately.

    Args:
        setup: the `AlgorithmSetup`.

    Attributes:
        optimizer: the `MpiAdam`.
    """

    def __init__(self, setup: AlgorithmSetup[PPOSettings]) -> None:
        pi, s = setup.pi, setup.settings
        self.settings = s
        lr_multipliers = None
        if s.vf_stepsize is not None and not s.vf_iters:
            lr_multipliers = value_lr_multipliers(pi, s.vf_stepsize / s.optim_stepsize)
        variables = split_variables(pi)[0] if s.vf_iters else pi.get_trainable_variables()
        self.optimizer = MpiAdam(variables, epsilon=s.adam_epsilon, lr_multipliers=lr_multipliers, comm=setup.comm)

    def compile(self, batch: Batch) -> None:
        """Do nothing: only the sweep is compiled."""

    def begin(self, batch: Batch, valid: np.ndarray, progress: float, steps: int) -> float:
        """Return the step size at a fraction `progress` of the training; see `NaturalStep.begin`."""
        return self.settings.optim_stepsize * (1 - progress if self.settings.schedule == "linear" else 1.0)

    def end(self, kl: float) -> bool:
        """Do nothing, and return False: the step does not depend on the KL."""
        return False

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}."""
        return {"adam": self.optimizer}


class NaturalStep:
    """Natural-gradient steps by K-FAC, whose size gives each iteration a wanted KL.

    With a fixed preconditioner P and gradient g, M small steps of size s move the parameters by M s P g, and the policy
    by a KL of (M s)^2 g^T P g / 2. The step size solves this for the wanted KL, and is corrected by the KL that the
    iterations before have had.

    Args:
        setup: the `AlgorithmSetup`.

    Attributes:
        optimizer: the `Kfac`.
        correction: factor of the step size.
        wanted: KL of the current iteration.
        before: [P] float32, the parameters before it.

    Raises:
        UserError: if the policy is not known to consist of dense layers.
    """

    def __init__(self, setup: AlgorithmSetup[PPOSettings]) -> None:
        self.pi = pi = setup.pi
        self.comm = setup.comm
        self.layers = pi.dense_layers()
        if not self.layers:
            raise UserError(
                f"invalid optimizer='kfac' with {type(pi).__name__}: it needs a policy of dense layers, such as "
                "MlpPolicy; use optimizer='adam'"
            )
        variables = [(pi.weights[f"{layer}/w"], pi.weights[f"{layer}/b"]) for layer in self.layers]
        others = [pi.weights["pol/logstd"]] if "pol/logstd" in pi.weights else []
        self.settings = setup.settings
        self.optimizer = Kfac(variables, others, LOGSTD_INFORMATION, self.settings.kfac_damping, self.comm)
        self.shapes = [tuple(w.shape) for w, _ in variables]
        self.correction = 1.0
        self.wanted = 0.0
        self.before = np.zeros(self.optimizer.size, np.float32)
        self._statistics = Compiled(functools.partial(self._statistics_graph, pi), pi.xla, self._shared())

    def _shared(self) -> Shared | None:
        def of_network(network: NetworkView) -> Any:
            return functools.partial(self._statistics_graph, network)

        return self.pi.shared(("kfac", self.layers), of_network)

    def _statistics_graph(self, policy: Policy | NetworkView, batch: Tensors, weights: tf.Tensor) -> tf.Tensor:
        """The policy gradient, and the Kronecker factors of each layer.

        The actions of the batch are samples of the current policy, so the factors need no others.

        Args:
            policy: has `network`, `weights` and `pdtype`.
            batch: {field of `Batch`: [N, ...]}.
            weights: [N], of the mean over samples.

        Returns:
            [P + sum of (n + 1)^2 + m^2]: the gradient of the mean of log pi(a|s) A, then A and G of each layer.
        """
        names = [f"{layer}/{kind}" for layer in self.layers for kind in "wb"]
        variables = [
            policy.weights[name] for name in [*names, *(["pol/logstd"] if "pol/logstd" in policy.weights else [])]
        ]
        network = RecordingNetwork(policy.weights)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(variables)
            steps, mask = policy.layout.split_steps(batch["x"])
            flat, _ = policy.network(policy.weights, steps, network)
            flat = flat if mask is None else policy.pdtype.mask_flat(TensorFlowOperators, flat, mask)
            logp = policy.pdtype.pdfromflat(flat).logp(batch["ac"])
            objective = tf.reduce_sum(weights * batch["atarg"] * logp)
            total = tf.reduce_sum(logp)
        parts = [get_flat(tape.gradient(objective, variables))]
        for layer, g in zip(self.layers, tape.gradient(total, [network.outputs[layer] for layer in self.layers])):
            x = network.inputs[layer]
            parts.append(second_moments(tf.concat([x, tf.ones_like(x[:, :1])], axis=1), weights))
            parts.append(second_moments(g, weights))
        return tf.concat(parts, axis=0)

    def compile(self, batch: Batch) -> None:
        """Compile for batches with the shapes of `batch`; no parameter changes."""
        self._run(batch, np.ones(len(batch.x), bool))

    def _run(self, batch: Batch, valid: np.ndarray) -> np.ndarray:
        tensors = {name: tf.constant(x) for name, x in batch.arrays().items() if name in ("x", "ac", "atarg")}
        statistics: np.ndarray = self._statistics(tensors, tf.constant(valid / np.float32(max(valid.sum(), 1)))).numpy()
        return statistics

    def begin(self, batch: Batch, valid: np.ndarray, progress: float, steps: int) -> float:
        """Set the preconditioner for one iteration. Collective.

        Args:
            batch: N samples of the current policy, with advantages.
            valid: [N] bool, the samples to use.
            progress: completed fraction of the training, for schedules.
            steps: number of minibatches.

        Returns:
            The step size.

        Raises:
            NonFiniteError: on all ranks, if the gradient or a factor is not finite.
        """
        statistics = self.comm.mean(self._run(batch, valid))
        if not np.isfinite(statistics).all():
            raise minibatch_bisect.collective_nonfinite_error(
                self.comm,
                "the gradient or the Fisher matrix is not finite, before the policy's step",
                batch.arrays() | {"weights": valid.astype(np.float32), "rows": np.arange(len(valid), dtype=np.int32)},
                self.optimizer.largest_parameter(),
                {"minibatch": "the whole segment"},
            )
        self.before = get_flat(self.optimizer.var_list).numpy()
        grad, factors = np.split(statistics, [self.optimizer.size])
        self.optimizer.set_factors(split_factors(factors, self.shapes))
        curvature = float(grad @ self.optimizer.precondition(tf.constant(grad)).numpy())
        decay = 1 - progress if self.settings.schedule == "linear" else 1.0
        self.wanted = self.settings.kl_target * decay**2  # the step size then falls in proportion to `decay`
        stepsize = self.correction * np.sqrt(2 * self.wanted / curvature) / steps if curvature > 0 else 0.0
        return self.comm.broadcast(float(stepsize))

    def end(self, kl: float) -> bool:
        """Correct the step size after an iteration that had a KL of `kl` instead of `wanted`.

        If the KL is more than `MAX_EXCESS` times the wanted one, the parameters move back towards those before the
        iteration; for small steps the KL is quadratic in the distance.

        Returns:
            Whether the parameters have moved back.
        """
        if kl == 0:  # the policy has not moved: its gradient is 0
            return False
        ratio = np.sqrt(self.wanted / kl) if np.isfinite(kl) else 0.0
        self.correction *= float(np.clip(ratio, 1 / MAX_CORRECTION, MAX_CORRECTION))
        if ratio >= 1 / np.sqrt(MAX_EXCESS):
            return False
        after = get_flat(self.optimizer.var_list).numpy()
        set_from_flat(self.optimizer.var_list, tf.constant(self.before + np.float32(ratio) * (after - self.before)))
        return True

    def checkpointables(self) -> dict[str, Any]:
        """{name: object with `state` and `restore`}."""
        return {"natural": self}

    def state(self) -> dict[str, np.ndarray]:
        """The correction, for a checkpoint."""
        return {"correction": np.array([self.correction])}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self.correction = float(state["correction"][0])
