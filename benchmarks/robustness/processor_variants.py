"""Processor variants: environment variables that make the numeric libraries compute as on another processor."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class ProcessorKind(NamedTuple):
    """Names of one kind of processor in the numeric libraries.

    Attributes:
        openblas: kernels of OpenBLAS.
        xla, onednn: latest instruction set.
        flags: of /proc/cpuinfo, which it requires.
        numpy_features: features that it adds to the kinds before, in NumPy's names.
    """

    openblas: str
    xla: str
    onednn: str
    flags: frozenset[str]
    numpy_features: frozenset[str]


def _kind(openblas: str, xla: str, onednn: str, flags: str, features: str) -> ProcessorKind:
    return ProcessorKind(openblas, xla, onednn, frozenset(flags.split()), frozenset(features.split()))


PROCESSORS = {
    "nehalem": _kind("Nehalem", "SSE4_2", "SSE41", "sse4_2 popcnt", "SSE SSE2 SSE3 SSSE3 SSE41 POPCNT SSE42 X86_V2"),
    "sandybridge": _kind("Sandybridge", "AVX", "AVX", "avx", "AVX"),
    "haswell": _kind("Haswell", "AVX2", "AVX2", "avx2 fma f16c", "F16C FMA3 AVX2 X86_V3"),
    "zen": _kind("Zen", "AVX2", "AVX2", "avx2 fma f16c", ""),
    "skylakex": _kind(
        "SkylakeX",
        "AVX512",
        "AVX512_CORE",
        "avx512f avx512cd avx512bw avx512dq avx512vl",
        "AVX512F AVX512CD AVX512_SKX X86_V4",
    ),
}
SHORT = ("nehalem", "haswell", "perturbed-two-threads")


@dataclass(frozen=True)
class Variant:
    """One way to run the tests.

    Attributes:
        name: for the command line and the table.
        variables: of the environment, added to the existing ones.
        flags: of /proc/cpuinfo, which it requires.
        python: interpreter to install the project for; None: this one, without an installation.
        oldest: install the oldest version of every dependency that setup.py allows, instead of the latest.
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    python: str | None = None
    oldest: bool = False

    def missing_flags(self, flags: frozenset[str]) -> str | None:
        """Why a processor with these flags cannot run it; None if it can."""
        missing = sorted(self.flags - flags)
        return f"this processor lacks {', '.join(missing)}" if missing else None

    def environment(self) -> dict[str, str]:
        """All environment variables of its processes. Existing XLA_FLAGS are kept, before its own."""
        variables = dict(self.variables)
        if "XLA_FLAGS" in variables:
            variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {variables['XLA_FLAGS']}".strip()
        return os.environ | variables


def thread_variables(count: int) -> dict[str, str]:
    """Variables that set the number of threads of NumPy's products and of TensorFlow."""
    names = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
    return dict.fromkeys(names, str(count))


def processor_variants(numpy_features: Iterable[str]) -> dict[str, Variant]:
    """{name: variant} for this interpreter.

    Args:
        numpy_features: features that NumPy found and selects at run time, in the names of its version.
    """
    found, included = [Variant("own")], set()
    for name, kind in PROCESSORS.items():
        included |= kind.numpy_features
        disabled = " ".join(feature for feature in numpy_features if feature not in included)
        variables = {
            "OPENBLAS_CORETYPE": kind.openblas,
            "XLA_FLAGS": f"--xla_cpu_max_isa={kind.xla}",
            "ONEDNN_MAX_CPU_ISA": kind.onednn,
        }
        if disabled:
            variables["NPY_DISABLE_CPU_FEATURES"] = disabled
        found.append(Variant(name, variables, kind.flags))
    found += [
        Variant("onednn-off", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
        Variant("onednn-on", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
        Variant("one-thread", thread_variables(1)),
        Variant("two-threads", thread_variables(2)),
        Variant("perturbed", {"TEST_PERTURB_PRODUCTS": "1"}),
        Variant("perturbed-two-threads", {"TEST_PERTURB_PRODUCTS": "2"} | thread_variables(2)),
    ]
    return {variant.name: variant for variant in found}


def cpu_flags(path: Path | str = "/proc/cpuinfo") -> frozenset[str]:
    """Instruction sets of this processor in Linux's names; empty on other systems and architectures."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))
