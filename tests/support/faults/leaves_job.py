"""A user's script without TensorFlow: rank `sys.argv[2]` leaves between two collectives in the way named `sys.argv[1]`."""

import sys
import time

from common.distributed import communicator

EXITS = {
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
            EXITS[sys.argv[1]]()
    if comm.rank == 0:
        time.sleep(1.2)  # the other ranks have finished
        print("all finished")
