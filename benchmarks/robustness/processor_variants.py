"""Environment variables under which the numeric libraries compute as on another processor, and which of them this processor can run."""

import os
from dataclasses import dataclass, field
from pathlib import Path

# kind of processor: (OpenBLAS's name, XLA's and oneDNN's newest instruction set, the flags of /proc/cpuinfo that it needs, NumPy's names of what it adds)
PROCESSORS = {
    "nehalem": (
        "Nehalem",
        "SSE4_2",
        "SSE41",
        {"sse4_2", "popcnt"},
        {"SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "POPCNT", "SSE42", "X86_V2"},
    ),
    "sandybridge": ("Sandybridge", "AVX", "AVX", {"avx"}, {"AVX"}),
    "haswell": ("Haswell", "AVX2", "AVX2", {"avx2", "fma", "f16c"}, {"F16C", "FMA3", "AVX2", "X86_V3"}),
    "zen": ("Zen", "AVX2", "AVX2", {"avx2", "fma", "f16c"}, set()),
    "skylakex": (
        "SkylakeX",
        "AVX512",
        "AVX512_CORE",
        {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
        {"AVX512F", "AVX512CD", "AVX512_SKX", "X86_V4"},
    ),
}
SHORT = ("nehalem", "haswell", "perturbed-two-threads")


@dataclass(frozen=True)
class Combination:
    """One way to run the tests.

    Attributes:
        name: for the command line and the table.
        variables: of the environment, over what it holds already.
        needs: flags of /proc/cpuinfo.
        python: the interpreter to install the project for; None: the one that runs this.
        oldest: install the oldest version of every dependency that setup.py allows, not the newest.
    """

    name: str
    variables: dict = field(default_factory=dict)
    needs: frozenset = frozenset()
    python: str | None = None
    oldest: bool = False

    def cannot_run(self, flags):
        """Why a processor with these flags cannot run it; None if it can."""
        lacking = sorted(self.needs - flags)
        return f"this processor lacks {', '.join(lacking)}" if lacking else None

    def environment(self):
        """All variables of a process that runs it; flags of XLA that were there before stay, ahead of its own."""
        own = dict(self.variables)
        if "XLA_FLAGS" in own:
            own["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {own['XLA_FLAGS']}".strip()
        return os.environ | own


def threads(count):
    """The variables that give NumPy's products and TensorFlow's operations this many threads."""
    return dict.fromkeys(
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(count)
    )


def combinations(numpy_features):
    """All of this interpreter, by name.

    Args:
        numpy_features: those that NumPy chooses among at run time and has found, as it names them; the names depend on its version.
    """
    found, known = [Combination("own")], set()
    for name, (openblas, xla, onednn, needs, adds) in PROCESSORS.items():
        known |= adds
        newer = " ".join(one for one in numpy_features if one not in known)
        variables = {
            "OPENBLAS_CORETYPE": openblas,
            "XLA_FLAGS": f"--xla_cpu_max_isa={xla}",
            "ONEDNN_MAX_CPU_ISA": onednn,
        }
        found.append(
            Combination(name, variables | ({"NPY_DISABLE_CPU_FEATURES": newer} if newer else {}), frozenset(needs))
        )
    found += [
        Combination("onednn-off", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
        Combination("onednn-on", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
        Combination("one-thread", threads(1)),
        Combination("two-threads", threads(2)),
        Combination("perturbed", {"TEST_PERTURB_PRODUCTS": "1"}),
        Combination("perturbed-two-threads", {"TEST_PERTURB_PRODUCTS": "2"} | threads(2)),
    ]
    return {one.name: one for one in found}


def cpu_flags(path="/proc/cpuinfo"):
    """The instruction sets of this processor, as Linux names them; none where Linux or x86-64 is not."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))
