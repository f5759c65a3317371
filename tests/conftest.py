"""Shared by all tests: quiet, single-threaded TensorFlow, markers and fixtures."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# what XLA compiles is shared by the trainings in child processes of one session, and not kept for later
if "BASELINES_PPO_CACHE" not in os.environ:
    os.environ["BASELINES_PPO_CACHE"] = tempfile.mkdtemp(prefix="baselines-ppo-tests-")
    atexit.register(shutil.rmtree, os.environ["BASELINES_PPO_CACHE"], ignore_errors=True)
SUPPORT = Path(__file__).parent / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("", "environments", "faults", "numerics")]

# TEST_PERTURB_PRODUCTS=<seed>, a whole number: the networks' products are moved by one ulp, as another processor might (support/numerics/perturbed_products.py)
if os.environ.get("TEST_PERTURB_PRODUCTS"):
    import perturbed_products

    perturbed_products.install_if_requested()


# where the faults of docs/development/fault-tests.md are injected
FAULTS = (
    "faults/",
    *(
        f"{name}.py"
        for name in (
            "baselines_ppo/ranks/test_ranks",
            "baselines_ppo/train/test_resume",
            "baselines_ppo/train/test_session",
            "baselines_ppo/train/test_signals",
            "common/distributed/test_exit_guard",
            "common/distributed/test_watchdog",
            "common/runtime/test_crash_stacks",
            "common/runtime/test_thread_pool",
            "common/runs/test_unreadable_files",
            "common/storage/test_array_files",
            "common/storage/test_atomic",
            "common/vec_env/test_subproc",
            "common/vec_env/test_worker_failures",
        )
    ),
)

# files that take longest, in this order: they are started first, so that the last process does not end long after the others
LONG = tuple(
    f"{name}.py"
    for name in (
        "baselines_ppo/train/test_resume",
        "baselines_ppo/ranks/test_ranks",
        "faults/test_ranks_fail",
        "returns/test_returns",
        "docs/test_doc_commands",
        "examples/test_examples",
        "baselines_ppo/test_other_processes",
        "faults/test_numbers",
        "faults/test_disk",
        "faults/test_ranks_stall",
        "common/vec_env/test_worker_failures",
        "baselines_ppo/sweep/test_sweep",
        "baselines_ppo/tune/test_tune",
        "baselines_ppo/test_trpo",
        "common/test_compilation",
        "baselines_ppo/policies/test_cnn_learning",
        "baselines_ppo/test_learning",
        "faults/test_fuzz",
        "faults/test_kills",
        "baselines_ppo/export/test_writers",
    )
)

# where numbers are compared that depend on the order of a sum, on fused multiplications, or on a library's exp
NUMERIC = tuple(
    f"{name}.py"
    for name in (
        "baselines_ppo/demonstrations/test_behaviour_cloning",
        "baselines_ppo/experiment/test_warm_start",
        "baselines_ppo/export/test_composite_actions_export",
        "baselines_ppo/export/test_export_observations",
        "baselines_ppo/export/test_writers",
        "baselines_ppo/policies/test_cnn_channels",
        "baselines_ppo/policies/test_cnn_learning",
        "baselines_ppo/policies/test_cnn_policy",
        "baselines_ppo/policies/test_cnn_precision",
        "baselines_ppo/test_composite_actions",
        "baselines_ppo/test_invariants",
        "baselines_ppo/test_learn_policies",
        "baselines_ppo/policies/test_mlp_policy",
        "baselines_ppo/test_objectives",
        "baselines_ppo/test_pposgd_simple",
        "baselines_ppo/ranks/test_ranks",
        "baselines_ppo/test_trpo",
        "baselines_ppo/test_vpg",
        "common/optim/test_conjugate_gradient",
        "common/optim/test_minibatch_optimizer",
        "common/optim/test_minibatches",
        "common/policies/layers/test_precision",
        "common/policies/test_observation_encoder",
        "common/rollouts/test_advantages",
        "common/rollouts/test_collector",
        "common/rollouts/test_collector_errors",
        "common/rollouts/test_return_scaling",
        "common/runs/test_results",
        "common/test_distribution_sampling",
        "common/test_distributions",
        "common/test_masked_distributions",
        "common/test_mpi_adam",
        "common/test_product_distribution",
        "common/test_running_mean_std",
        "common/test_seeding",
        "common/test_tf_util",
        "common/vec_env/test_adapter",
        "common/vec_env/test_env_threads",
    )
)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    """Import what the tests import as the programs do, without Keras, and exclude it from all later garbage collections.

    These are about a million objects, none of them garbage. To visit them took 7 % of the time of the tests of combinations.
    """
    from common.runtime.tf_import import gc_paused, skip_keras_import

    with skip_keras_import(), gc_paused():
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items):
    """Add the markers before `-m` and `-k` select, and reorder what they have selected."""
    here = Path(__file__).parent
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(
            f"{changing[0]}: a name with an address in it is another in every process; give the parameters ids"
        )
    for item in items:
        if item.path.is_relative_to(here):
            name = item.path.relative_to(here).as_posix()
            for marker, files in (("faults", FAULTS), ("numeric", NUMERIC)):
                if name.startswith(files):
                    item.add_marker(marker)
    yield
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        long_files_first(items, workers)


def long_files_first(items, workers):
    """Reorder the tests so that each process's part of the list, which xdist cuts into equal parts, begins with long files."""
    here = Path(__file__).parent
    files = {str(here / name): [] for name in LONG}
    others = [item for item in items if str(item.path) not in files]
    for item in items:
        files.get(str(item.path), []).append(item)
    parts = [sum(list(files.values())[worker::workers], []) for worker in range(workers)]
    for i, part in enumerate(parts):
        missing = len(items) * (i + 1) // workers - len(items) * i // workers - len(part)
        part += others[: max(missing, 0)]
        del others[: max(missing, 0)]
    items[:] = sum(parts, []) + others


@pytest.fixture
def cli_here(capfd):
    """Run the command line in this process; return a CompletedProcess. Saves the start of Python and often of TensorFlow."""
    import jobs

    def run(*words):
        status = jobs.main_here(*words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)

    return run


@pytest.fixture
def uncompiled_here(monkeypatch):
    """Policies without XLA in this process, for tests that do not concern the compilation of updates."""
    from common.policies.base import Policy

    monkeypatch.setattr(Policy, "xla", False)


@pytest.fixture
def no_registrations():
    """Objectives that a test registers are removed after it."""
    from baselines_ppo.config.settings import OBJECTIVE_NAMES, SURROGATES
    from baselines_ppo.objectives import OBJECTIVES

    yield
    for name in set(OBJECTIVES) - set(SURROGATES):
        del OBJECTIVES[name]
    OBJECTIVE_NAMES[:] = SURROGATES


@pytest.fixture
def page_folder(tmp_path, monkeypatch, no_registrations):
    """A function (page of the documentation) that writes the files that the page shows into a directory and changes to it.

    Objectives that the page's code registers are removed after the test.
    """
    from doc_pages import blocks

    def enter(page):
        for block in blocks(page):
            if block.file:
                (tmp_path / block.file).write_text(block.text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)

    return enter


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One more process than cores: tests of whole jobs wait for a third of their time."""
    from common.runtime.cpu import usable_cpu_count

    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or usable_cpu_count() + 1)
