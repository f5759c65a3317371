"""Checks of what is installed: Python, the packages that setup.py asks for, and the processor's instructions."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from baselines_ppo.doctor.finding import Finding
from common.runtime.cpu import cpu_affinity, cpu_flags, cpu_model
from common.runtime.memory import memory_limit

PACKAGE = "baselines_ppo"
REINSTALL = "run pip install -e . in the clone"
# (name in the list, Linux's name, what it is good for)
INSTRUCTIONS = (
    ("AVX2", "avx2"),
    ("AVX-512", "avx512f"),
    ("AVX-512 BF16", "avx512_bf16"),
    ("AMX BF16", "amx_bf16"),
)
REQUIRED_INSTRUCTION = "avx"  # of TensorFlow's wheels
MEMORY_PER_RANK = 0.8e9  # bytes of a MuJoCo training (benchmarks/README.md)


def check_python() -> Iterator[Finding]:
    """Check Python's version."""
    version = platform.python_version()
    value = f"{version}, {platform.platform()}"
    try:
        wanted = importlib.metadata.metadata(PACKAGE)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        wanted = ""
    supported = SpecifierSet(wanted).contains(version, prereleases=True)
    yield Finding("Python", value, "" if supported else f"install a Python that is {wanted}")


def check_packages() -> Iterator[Finding]:
    """Compare the installed versions with those that setup.py asks for: this package, then every requirement."""
    try:
        version, requirements = importlib.metadata.version(PACKAGE), importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(PACKAGE, "not installed", REINSTALL)
        return
    yield Finding(PACKAGE, version)
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield check_requirement(requirement)


def check_requirement(requirement: Requirement) -> Finding:
    """Compare the installed version of one package with a requirement."""
    install = f"run pip install '{requirement.name}{requirement.specifier}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "not installed", install)
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, version)
    return Finding(requirement.name, f"{version}, but {requirement.specifier} is needed", install)


def check_processor() -> Iterator[Finding]:
    """List the processor, its instructions, the cores and the memory."""
    yield Finding("processor", " ".join(cpu_model().split()) or platform.processor() or platform.machine())
    flags = cpu_flags()
    if flags and platform.machine() in ("x86_64", "AMD64"):
        found = ", ".join(name for name, flag in INSTRUCTIONS if flag in flags) or "none of AVX2 and AVX-512"
        missing = REQUIRED_INSTRUCTION not in flags
        fix = "TensorFlow's packages need AVX: use another machine, or build TensorFlow for this one"
        yield Finding("instruction sets", found, fix if missing else "")
    cores = cpu_affinity()
    yield Finding("cores", f"{len(cores)} usable: more ranks than that are not faster")
    limit = memory_limit()
    if limit is not None:
        too_little = "the training of a MuJoCo task may be killed; use a machine or container with more memory"
        enough = limit >= 2 * MEMORY_PER_RANK
        yield Finding("memory", f"{limit / 1e9:.1f} GB, about 0.8 GB for each rank", "" if enough else too_little)
