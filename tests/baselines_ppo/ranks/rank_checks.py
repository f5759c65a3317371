"""Runs the trainings of `test_ranks.py` in one job, so that each rank starts TensorFlow once.

Each rank runs this script with the directory for its files as argument. Rank 0 prints one JSON object, which the tests read.
"""

import functools
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np

SUPPORT = Path(__file__).parents[2] / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("", "environments", "numerics")]
from common.runtime.tf_import import import_tensorflow  # noqa: E402

tf = import_tensorflow(threads=1)  # without Keras, as the command line does
import perturbed_products  # noqa: E402
from rank_divergence import diverge, flip  # noqa: E402
from small_envs import Ragged  # noqa: E402
from small_policies import uncompiled  # noqa: E402

from baselines_ppo import Callback, MlpPolicy, StopTraining, learn, trpo_mpi, value_fit, vpg  # noqa: E402
from baselines_ppo.algorithm_setup import AlgorithmSetup  # noqa: E402
from baselines_ppo.config.settings import TRPOSettings  # noqa: E402
from common import seeding  # noqa: E402
from common.diagnostics.replica_check import ReplicaDivergenceError  # noqa: E402
from common.distributed import communicator  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.mpi_adam import MpiAdam  # noqa: E402
from common.rollouts.segment import Batch  # noqa: E402
from common.running_mean_std import RunningMeanStd  # noqa: E402
from common.runs.results import RunResults  # noqa: E402
from common.training.stopping import StopCriteria  # noqa: E402

perturbed_products.install_if_requested()
comm, FOLDER = communicator.world(), Path(sys.argv[1])
results = {"size": comm.size}
# Adam divides a gradient by its size, so that the rounding of a gradient near 0 becomes a full step. With an epsilon of 1, the error of a
# step is at most the step size times the error of its gradient, and two orders of summation can be compared after many steps. TRPO's
# value function has no setting for epsilon.
SMOOTH = {"adam_epsilon": 1.0, "optim_stepsize": 1e-2}
value_fit.MpiAdam = functools.partial(MpiAdam, epsilon=1.0)


def compiled(name, ob_space, ac_space):
    return MlpPolicy(name, ob_space, ac_space, hid_size=8)


def with_scalar(name, ob_space, ac_space):
    """A policy with a scalar variable, whose initial value differs between ranks."""
    pi = compiled(name, ob_space, ac_space)
    pi.temperature = tf.Variable(float(comm.rank), trainable=False)
    # as `learn` draws the others with seed 7: it keeps the weights of a policy that was changed after its construction
    pi.initialise(seeding.generator(7, seeding.INITIALISE))
    return pi


def train(env=None, **kwargs):
    """Train shortly; returns (pi, digests of all state by iteration and rank, digests of the first actions by rank, training loop)."""
    seen = {"digests": [], "actions": None}

    class Start(Callback):
        def on_training_start(self, training):
            seen["training"] = training

    def callback(local, _):
        state = [x for part in (local["pi"], *seen["training"].checkpointables.values()) for x in part.state().values()]
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in state)).hexdigest()
        seen["digests"].append(comm.gather(digest))
        if local["seg"] is not None and seen["actions"] is None:
            seen["actions"] = comm.gather(hashlib.sha256(local["seg"]["ac"].tobytes()).hexdigest())
        return extra(local) if extra else None

    extra = kwargs.pop("extra", None)
    algorithm = kwargs.pop("algorithm", learn)
    defaults = {"timesteps_per_actorbatch": 64, "optim_batchsize": 16, "optim_epochs": 2} if algorithm is learn else {}
    pi = algorithm(
        env or Ragged(),
        kwargs.pop("policy_fn", uncompiled),
        callback=[Start(), callback],
        **{"max_iters": 3, "seed": 7} | defaults | kwargs,
    )
    return pi, seen["digests"], seen["actions"], seen["training"]


def flat(pi):
    return np.concatenate([v.numpy().ravel() for v in pi.get_trainable_variables()])


def relative_difference(one, other, start):
    """Distance between the parameters of two policies, relative to the change of the first since `start`."""
    return float(np.linalg.norm(flat(one) - flat(other)) / np.linalg.norm(flat(one) - start))


initial_parameters = []
gathered, digests, actions, training = train(
    averaging="gather", policy_fn=compiled, extra=lambda local: initial_parameters.append(flat(local["pi"])), **SMOOTH
)
results["identical_gather"] = all(len(set(row)) == 1 for row in digests) and len({row[0] for row in digests}) == len(
    digests
)
results["streams_differ"] = len(set(actions)) == comm.size
results["timesteps"] = training.timesteps_so_far
averaged, digests, _, _ = train(averaging="average", policy_fn=with_scalar, **SMOOTH)
results["identical_average"] = all(len(set(row)) == 1 for row in digests)
results["strategies_differ_by"] = relative_difference(gathered, averaged, initial_parameters[0])
results["moved_by"] = float(np.abs(flat(gathered) - initial_parameters[0]).max())

ALGORITHM_SETTINGS = {
    "adaptive_kl": {"objective": "adaptive_kl", "kl_target": 0.1, **SMOOTH},
    "separate_fit": {"vf_iters": 2, "vf_stepsize": 1e-2, **SMOOTH},
    # with a damping of 1, conjugate gradients magnify errors by at most 1 + the largest eigenvalue of the Fisher matrix, which is below 10
    "trpo": {
        "algorithm": trpo_mpi.learn,
        "timesteps_per_batch": 64,
        "vf_batchsize": 16,
        "cg_damping": 1.0,
        "vf_stepsize": 1e-2,
    },
    "reinforce": {
        "algorithm": vpg.learn,
        "timesteps_per_actorbatch": 64,
        "vf_batchsize": 16,
        "vf_stepsize": 1e-2,
        **SMOOTH,
    },
    "a2c": {
        "algorithm": vpg.learn,
        "timesteps_per_actorbatch": 16,
        "whole_episodes": False,
        "vf_iters": 0,
        "lam": 0.9,
        **SMOOTH,
        "optim_stepsize": 0.1,
    },
}
results["family"] = {}
for name, settings in ALGORITHM_SETTINGS.items():
    one, digests, _, training = train(averaging="gather", **settings)
    same = all(len(set(row)) == 1 for row in digests) and len({row[0] for row in digests}) == len(digests)
    differ_by = None
    if "--short" not in sys.argv:
        other, digests, _, _ = train(averaging="average", **settings)
        same = same and all(len(set(row)) == 1 for row in digests)
        differ_by = relative_difference(one, other, initial_parameters[0])
    results["family"][name] = [same, differ_by]
    if name == "adaptive_kl":
        results["beta"] = comm.gather(training.checkpointables["penalty"].beta)

# TRPO's step of n ranks, and that of one rank with the samples of all ranks
rng = np.random.default_rng(comm.rank)
batch = {
    name: rng.standard_normal((40, *shape)).astype(np.float32)
    for name, shape in (("x", (2,)), ("noise", (2,)), ("atarg", ()))
}
steps = []
for ranks, rows in (
    (comm, batch),
    (communicator.Communicator(None), {name: np.concatenate(comm.gather(x)) for name, x in batch.items()}),
):
    setup = AlgorithmSetup(
        TRPOSettings,
        {"timesteps_per_batch": 40, "vf_iters": 0, "cg_damping": 1.0},
        {"comm": ranks},
        StopCriteria(max_iters=1),
        Ragged(),
        uncompiled,
        3,
        None,
    )
    update, pd, before = (
        trpo_mpi.TRPOUpdate(setup),
        setup.pi.pdtype.pdfromflat(setup.pi.forward(rows["x"])[0]),
        flat(setup.pi),
    )
    no_value = np.zeros(len(rows["x"]), np.float32)
    actions, flatparam = pd.sample(rows["noise"]).numpy(), pd.flatparam().numpy()
    stats = update.step(
        Batch(rows["x"], actions, flatparam, no_value, rows["atarg"], no_value), np.ones(len(rows["x"]), bool)
    )
    steps.append(flat(setup.pi) - before)
results["trpo_union_differs_by"] = float(np.linalg.norm(steps[0] - steps[1]) / np.linalg.norm(steps[1]))
results["trpo_halvings"] = stats["linesearch_halvings"]

if "--short" not in sys.argv:
    again, _, _, _ = train(averaging="gather", policy_fn=compiled, **SMOOTH)
    results["repeats"] = bool((flat(again) == flat(gathered)).all())

    def stop_on_last(local):
        return comm.rank == comm.size - 1 and local["iters_so_far"] == 1

    def raise_on_last(local):
        if comm.rank == comm.size - 1 and local["iters_so_far"] == 2:
            raise StopTraining

    results["stopped_by_one"] = comm.gather(train(extra=stop_on_last)[3].iters_so_far)
    results["raised_by_one"] = comm.gather(train(extra=raise_on_last)[3].iters_so_far)
    uneven = gym.vector.SyncVectorEnv([Ragged] * 2, autoreset_mode=gym.vector.AutoresetMode.NEXT_STEP)
    _, digests, _, training = train(env=uneven, max_iters=0, max_episodes=60)
    results["uneven_rows"] = [all(len(set(row)) == 1 for row in digests), training.episodes_so_far >= 60]

# a policy that only rank 0 can read, and one that does not exist
with tempfile.TemporaryDirectory() as there:
    path, initial_states = Path(there) / "policy.safetensors", []
    gathered.save(path)
    train(
        extra=lambda local: initial_states.append(local["pi"].state()),
        load_path=path if comm.rank == 0 else "nowhere",
        max_iters=1,
    )
    results["started_from"] = comm.gather(
        all((initial_states[0][name] == x).all() for name, x in gathered.state().items())
        and initial_states[0].keys() == initial_states[1].keys()
    )
    results["filters_count"] = [float(state["ob_rms/count"].item()) for state in initial_states[:2]]
try:
    train(load_path="nowhere" if comm.rank == 0 else path, max_iters=1)
except UserError as error:
    results["refused"] = comm.gather(str(error))

# a run with a directory, which only rank 0 knows
_, _, _, training = train(run_dir=FOLDER / "run" if comm.rank == 0 else None, max_iters=2)
comm.barrier()  # rank 0 has written the policy
found = RunResults(FOLDER / "run")
results["recorded"] = {
    "files": sorted(path.name for path in found.path.glob("*.csv")),
    "ranks": found.settings["ranks"],
    "rows": len(found.rows["EpRewMean"]),
    "episodes": [len(found.episodes.returns), training.episodes_so_far],
    "policy": (found.path / "policy/policy.safetensors").exists(),
}
try:
    train(run_dir=str(FOLDER / "run"), max_iters=2)
except UserError as error:
    results["recorded"]["refused"] = comm.gather(str(error).rpartition("/")[2])


results["drift"] = {
    f"{averaging}, {when}, {name}": diverge(comm, FOLDER, averaging, when, name, select)
    for averaging, when, name, select in [
        ("gather", "before", "weight", lambda pi: pi.get_trainable_variables()[0]),
        ("gather", "collect", "mean", lambda pi: pi.ob_rms.mean),
        ("gather", "after", "weight", lambda pi: pi.get_trainable_variables()[0]),
        ("average", "before", "mean", lambda pi: pi.ob_rms.mean),
        ("average", "collect", "weight", lambda pi: pi.get_trainable_variables()[0]),
    ]
}

v = tf.Variable(np.arange(5, dtype=np.float32))
adam = MpiAdam([v], comm=comm)
adam.check_synced()
if comm.rank == comm.size - 1:
    flip(v)
try:
    adam.check_synced()
    results["drift_of_adam"] = "not found"
except ReplicaDivergenceError as error:
    results["drift_of_adam"] = str(error)

# rank r's gradient is r + 1 everywhere: one step of Adam with the mean of them
v.assign(np.zeros(5, np.float32))
adam.update(np.full(5, comm.rank + 1.0), 0.1)
results["mean_gradient"] = float(adam.m.numpy()[0] / 0.1)

rows = np.random.default_rng(comm.rank).standard_normal((10 + comm.rank, 3)) + 1e7
rms = RunningMeanStd((3,), comm, min_std=0)

rms.update(rows)
everything = np.concatenate(comm.gather(rows))
results["rms_error"] = float(
    max(np.abs(rms.mean - everything.mean(0)).max(), np.abs(rms.std - everything.std(0)).max())
)

# waiting ranks leave their cores to the others
cpu_before = time.process_time()
if comm.rank == 0:
    time.sleep(2.0)
comm.gather(None)
results["burnt_while_waiting"] = max(comm.gather(time.process_time() - cpu_before))

if comm.rank == 0:
    print("RESULTS", json.dumps(results))
