"""What all tests share: quiet, single-threaded TensorFlow, and jobs of several ranks."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "support"))

# TEST_PERTURB_PRODUCTS=<seed>, a whole number: the networks' products are moved by one ulp, as another processor might (support/perturbed_products.py)
if os.environ.get("TEST_PERTURB_PRODUCTS"):
    import perturbed_products
    perturbed_products.install_if_asked()


# where the faults of docs/reliability.md are injected
FAULTS = ("faults/", "baselines_ppo/test_job.py", "baselines_ppo/test_ranks.py", "baselines_ppo/test_resume.py", "baselines_ppo/test_signals.py",
          "common/test_checkpoints.py", "common/test_crash_stacks.py", "common/test_door.py", "common/test_heartbeat.py", "common/test_threads.py",
          "common/test_workers.py")

# where numbers are compared that depend on the order of a sum, on fused multiplications, or on a library's exp
NUMERIC = (*(f"common/test_{name}.py" for name in (
    "advantages", "conjugate_gradient", "distribution_sampling", "distributions", "env_threads", "minibatches", "mpi_adam", "observations",
    "optimise", "return_scaling", "run_data", "running_mean_std", "seeding", "segments", "stepper", "tf_util")),
    *(f"baselines_ppo/test_{name}.py" for name in (
        "cnn_policy", "export", "export_observations", "invariants", "mlp_policy", "objectives", "pposgd_simple", "ranks", "trpo", "vpg", "warm_start")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark both; before `-m` looks."""
    here = Path(__file__).parent
    if changing := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"{changing[0]}: a name with an address in it is another in every process; give the parameters ids")
    for item in items:
        if item.path.is_relative_to(here):
            name = item.path.relative_to(here).as_posix()
            for marker, files in (("faults", FAULTS), ("numeric", NUMERIC)):
                if name.startswith(files):
                    item.add_marker(marker)


@pytest.fixture
def cli_here(capfd):
    """The command line in this process, as a finished process tells it; spares a start of Python, and often of TensorFlow."""
    import jobs

    def run(*words):
        status = jobs.main_here(*words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)
    return run


@pytest.fixture
def uncompiled_here(monkeypatch):
    """Policies without XLA in this process, where how an update is compiled is no part of what is tested."""
    from baselines_ppo.policies import Policy
    monkeypatch.setattr(Policy, "xla", False)


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """A function (page of the documentation) that makes a folder with the files whose contents the page shows, and goes there."""
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
    """One more process than cores: a third of the time of tests of whole jobs is spent waiting."""
    from common.quiet import available_cores
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or available_cores() + 1)
