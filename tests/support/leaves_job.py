"""A script of one's own, without TensorFlow, whose ranks come together again and again: rank `sys.argv[2]` leaves in the way of `sys.argv[1]`."""

import sys
import time

from common.distributed import communicator

WAYS = {
    "raises": lambda: int("no number"),
    "exits": lambda: sys.exit(3),
    "just ends": lambda: sys.exit(),
    "stays": lambda: None,
}

if __name__ == "__main__":
    comm = communicator.world()
    for turn in range(4):
        comm.gather(turn)
        if turn == 2 and comm.rank == int(sys.argv[2]):
            WAYS[sys.argv[1]]()
    if comm.rank == 0:
        time.sleep(1.2)  # the others are done, and wait for nothing
        print("all was done")
