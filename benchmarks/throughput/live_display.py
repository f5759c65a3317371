"""CPU time of the live display in a terminal: of one redraw, which happens once per second, and of one log row.

python -m benchmarks.throughput.live_display
"""

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

from common.loggers.live_display import LiveDisplay, make_progress_display

ROW = {
    "EpLenMean": 210.0,
    "ev_tdlam_before": 0.5,
    "loss_kl": 0.0031,
    "loss_ent": 4.2,
    "clipfrac": 0.11,
    "stepsize": 3e-4,
}


def drain(reader: int) -> None:
    """Read the output to the terminal until it is closed."""
    with contextlib.suppress(OSError):
        while os.read(reader, 1 << 16):
            pass


def mean_cpu_seconds(function: Callable[[], object], times: int) -> float:
    """Mean CPU time of one call."""
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) / times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500, help="iterations in the displayed curve [500]")
    args = parser.parse_args()
    reader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        threading.Thread(target=drain, args=(reader,), daemon=True).start()
        view = make_progress_display(lambda: 0.5, " of 1,000,000 steps", stream=stream)
        assert isinstance(view, LiveDisplay)
        for i in range(args.rows):
            view.write(ROW | {"EpRewMean": float(i)}, 2048 * i)
        redraw = mean_cpu_seconds(view.live.refresh, 50)
        row = mean_cpu_seconds(lambda: view.write(ROW | {"EpRewMean": 0.0}, 0), 1000)
        view.close()
    print(f"one redraw per second: {redraw * 1e3:.1f} ms, {redraw:.2%} of a core; one log row: {row * 1e6:.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
