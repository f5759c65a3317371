"""Compare memory and masks with sb3-contrib's RecurrentPPO and MaskablePPO: return and speed, with the same settings.

    python -m benchmarks.policies.peers --peers-python DIR/bin/python           both CartPoles and the grid, three rounds
    python -m benchmarks.policies.peers --peers-python ... --steps 20480        speed only, with shorter trainings
    python -m benchmarks.policies.peers --report                                train nothing; write the table

The peers need a separate environment: `python -m venv DIR && DIR/bin/pip install PEERS`, with the versions of `PEERS` below.
In each round, one seed is trained by this package and by sb3-contrib in turn, each with one thread. Only figures of one run are
compared, because machines are shared and noisy; the ratio of CPU times depends less on other processes. Lines go to results/policies-peers.jsonl; the tables have the last run of each kind.

The settings do not remove three differences. RecurrentPPO's gradients flow through whole episodes, or their pieces in one rollout.
Its value function does not train the shared LSTM. sb3-contrib standardises advantages in each minibatch, this package in each rollout.
"""

import argparse
import os
import shutil
import statistics
import sys
import time

from benchmarks.markdown import markdown_table
from benchmarks.paths import RESULTS
from benchmarks.policies.records import PEER_PACKAGES, describe_machines, run_training, steady_speed
from benchmarks.policies.trainings import COMPARED
from benchmarks.returns.command_line import positive_int
from benchmarks.returns.result_files import Line, ResultFile
from benchmarks.throughput.measurements import missing_packages

PEERS = ("sb3-contrib==2.9.2", "stable-baselines3==2.9.2", "torch==2.13.0", "gymnasium==1.4.0", "numpy==2.4.6")
BENCHMARK = "policies-peers"
PAGE = RESULTS / "policies-peers-table.md"
MIN_RATIO = 3.0
LIBRARIES = ("baselines_ppo", "sb3-contrib")


def last_runs(results: ResultFile) -> dict[str, dict[str, list[Line]]]:
    """{training: {library: lines}} of the last run of each training with all steps, and else of the last run."""
    found: dict[str, dict[str, list[Line]]] = {}
    for name, training in COMPARED.items():
        lines = [line for line in results.lines if line["training"] == name]
        lines = [line for line in lines if line["steps"] == training.steps] or lines
        runs = {line["run"] for line in lines}
        if runs:
            last = [line for line in lines if line["run"] == max(runs)]
            found[name] = {library: [x for x in last if x["library"] == library] for library in LIBRARIES}
    return found


def ratios_of(lines: dict[str, list[Line]], cpu: bool = False) -> list[float]:
    """Our steps per second divided by sb3-contrib's, in each round; with `cpu` per second of CPU time."""
    pairs = zip(*(lines[library] for library in LIBRARIES))
    return [steady_speed(one, cpu) / steady_speed(other, cpu) for one, other in pairs]


def table(results: ResultFile) -> str:
    """A Markdown table with a row for each training."""
    rows, used = [], []
    for name, lines in last_runs(results).items():
        ratios = ratios_of(lines)
        if not ratios:
            continue
        used += [line for part in lines.values() for line in part]
        cells = [name, f"{lines[LIBRARIES[0]][0]['steps']:,}"]
        for library in LIBRARIES:
            cells.append(", ".join(f"{statistics.fmean(line['returns']):,.1f}" for line in lines[library]))
        for library in LIBRARIES:
            cells.append(f"{statistics.median(map(steady_speed, lines[library])):,.0f}")
        for values in (ratios, ratios_of(lines, cpu=True)):
            cells.append(f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        cells.append("reached" if statistics.median(ratios) >= MIN_RATIO else "missed")
        rows.append(cells)
    header = ("task", "steps", "return, ours", "return, theirs", "steps/s, ours", "steps/s, theirs")
    header = (*header, "ratio (rounds)", "ratio of CPU times (rounds)", f"at least {MIN_RATIO:g}")
    return f"{markdown_table(header, rows)}\n\n{describe_machines(used)}\n" if rows else "no run has finished yet\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=COMPARED, default=list(COMPARED), metavar="NAME")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH", help="interpreter with sb3-contrib")
    parser.add_argument("--rounds", type=positive_int, default=3, help="seeds of each training [3]")
    parser.add_argument("--steps", type=positive_int, help="environment steps [those of each training]")
    parser.add_argument("--report", action="store_true", help="train nothing; write the table")
    args = parser.parse_args()
    results = ResultFile(BENCHMARK)
    if not args.report:
        python = os.path.abspath(shutil.which(args.peers_python) or args.peers_python)
        if missing := missing_packages(python, [name.replace("-", "_") for name in PEER_PACKAGES]):
            parser.error(f"{', '.join(missing)}: not installed for {python}; run pip install {' '.join(PEERS)}")
        run = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for seed in range(args.rounds):
            for name in args.only:
                for interpreter in (None, python):
                    steps = args.steps or COMPARED[name].steps
                    line = run_training(name, COMPARED[name], seed, steps, interpreter) | {"run": run}
                    results.add(line)
                    print(
                        f"{name}, {line['library']}, seed {seed}: return {statistics.fmean(line['returns']):,.1f}, "
                        f"{steady_speed(line):,.0f} steps/s, solved after {line['steps_until_solved']} steps",
                        flush=True,
                    )
    text = table(results)
    PAGE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
