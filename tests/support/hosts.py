"""Hosts for MPI on one machine: namespaces, each with a network, an address, a host name and shared memory of its own. Needs root and iproute2."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

DEVICE = "eth0"  # of both hosts
UP = 10  # seconds that a link may take to come up


def available():
    """Whether namespaces can be made here."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    made = subprocess.run(["ip", "netns", "add", "probe-of-hosts"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", "probe-of-hosts"], capture_output=True)
    return made


class Hosts:
    """Two hosts with a link between them.

    Args:
        folder: where the launcher is written.
        tag: a number from 0 to 255 that no other pair has.

    Attributes:
        addresses: the hosts'.
    """

    def __init__(self, folder, tag):
        self.names = [f"host{tag}{side}" for side in "ab"]
        self.addresses = [f"10.77.{tag}.{i}" for i in (1, 2)]
        self.launcher = Path(folder) / "launcher"
        first, second = self.names
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", DEVICE, "netns", first, "type", "veth", "peer", "name", DEVICE, "netns", second)
        for name, address in zip(self.names, self.addresses):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
            ip("-n", name, "link", "set", DEVICE, "up")
        self._wait_up()
        # called as ssh is: options, host, command
        self.launcher.write_text(f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
case $host in {self.addresses[0]}) name={first};; *) name={second};; esac
exec ip netns exec $name unshare --uts --ipc sh -c "hostname $name; $*"
""")
        self.launcher.chmod(0o755)

    def command(self, mpirun, ranks, *words):
        """The words of a command on both hosts, ranks shared out evenly."""
        hosts = ",".join(f"{address}:{ranks // 2}" for address in self.addresses)
        return [
            "ip",
            "netns",
            "exec",
            self.names[0],
            "unshare",
            "--uts",
            "--ipc",
            "sh",
            "-c",
            f'hostname {self.names[0]}; exec "$@"',
            "sh",
            mpirun,
            "-hosts",
            hosts,
            "-launcher",
            "ssh",
            "-launcher-exec",
            str(self.launcher),
            "-n",
            str(ranks),
            *map(str, words),
        ]

    def link(self, state):
        """Cut the link ('down') or mend it ('up')."""
        ip("-n", self.names[1], "link", "set", DEVICE, state)
        if state == "up":
            self._wait_up()

    def _wait_up(self):
        deadline = time.monotonic() + UP
        while any("LOWER_UP" not in look(name)["flags"] for name in self.names):
            assert time.monotonic() < deadline, f"{DEVICE} does not come up"
            time.sleep(0.05)

    def packets(self):
        """How many the second host has received."""
        return look(self.names[1])["stats64"]["rx"]["packets"]

    def close(self):
        """Take the hosts away."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def ip(*words):
    """What `ip WORDS` prints."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def look(name):
    """What a host's device is and has done, as `ip` tells it."""
    return json.loads(ip("-n", name, "-j", "-s", "link", "show", DEVICE))[0]
