"""What the live view of a terminal costs: processor time of its redrawing, which it does once a second, and of a row of the log.

python -m benchmarks.throughput.live_display
"""

import argparse
import contextlib
import os
import sys
import threading
import time

from common.loggers.live_display import LiveDisplay, screen  # noqa: E402

ROW = {
    "EpLenMean": 210.0,
    "ev_tdlam_before": 0.5,
    "loss_kl": 0.0031,
    "loss_ent": 4.2,
    "clipfrac": 0.11,
    "stepsize": 3e-4,
}


def drain(reader):
    """Read what a terminal would show, until it is closed."""
    with contextlib.suppress(OSError):
        while os.read(reader, 1 << 16):
            pass


def seconds_of(function, times):
    """Processor time of a call, the mean of as many."""
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) / times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500, help="iterations behind the curve on the screen [500]")
    args = parser.parse_args()
    reader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        threading.Thread(target=drain, args=(reader,), daemon=True).start()
        view = screen(lambda: 0.5, " of 1,000,000 steps", stream=stream)
        assert isinstance(view, LiveDisplay)
        for i in range(args.rows):
            view.write(ROW | {"EpRewMean": float(i)}, 2048 * i)
        redraw, row = (
            seconds_of(view.live.refresh, 50),
            seconds_of(lambda: view.write(ROW | {"EpRewMean": 0.0}, 0), 1000),
        )
        view.close()
    print(f"redrawn once a second: {redraw * 1e3:.1f} ms, {redraw:.2%} of a core; a row of the log: {row * 1e6:.1f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
