"""Two simulated hosts for MPI on one machine: namespaces with separate networks, host names and shared memory.

Needs root and iproute2.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

DEVICE = "eth0"  # network device of both hosts
LINK_UP_TIMEOUT = 10  # seconds


def available():
    """Return whether this system allows creating namespaces."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    made = subprocess.run(["ip", "netns", "add", "probe-of-hosts"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", "probe-of-hosts"], capture_output=True)
    return made


class Hosts:
    """Two hosts with a link between them.

    Args:
        directory: where the launcher script is written.
        tag: a number from 0 to 255, unique to this pair.

    Attributes:
        addresses: of the hosts.
    """

    def __init__(self, directory, tag):
        self.names = [f"host{tag}{side}" for side in "ab"]
        self.addresses = [f"10.77.{tag}.{i}" for i in (1, 2)]
        self.launcher = Path(directory) / "launcher"
        first, second = self.names
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", DEVICE, "netns", first, "type", "veth", "peer", "name", DEVICE, "netns", second)
        for name, address in zip(self.names, self.addresses):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
            ip("-n", name, "link", "set", DEVICE, "up")
        self._wait_up()
        # called like ssh: options, host, command
        self.launcher.write_text(f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
case $host in {self.addresses[0]}) name={first};; *) name={second};; esac
exec ip netns exec $name unshare --uts --ipc sh -c "hostname $name; $*"
""")
        self.launcher.chmod(0o755)

    def command(self, mpirun, ranks, *argv):
        """Return the argv of a command on both hosts, with the ranks divided evenly."""
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
            *map(str, argv),
        ]

    def link(self, state):
        """Cut the link ("down") or restore it ("up")."""
        ip("-n", self.names[1], "link", "set", DEVICE, state)
        if state == "up":
            self._wait_up()

    def _wait_up(self):
        deadline = time.monotonic() + LINK_UP_TIMEOUT
        while any("LOWER_UP" not in device_status(name)["flags"] for name in self.names):
            assert time.monotonic() < deadline, f"{DEVICE} does not come up"
            time.sleep(0.05)

    def packets(self):
        """Return how many packets the second host has received."""
        return device_status(self.names[1])["stats64"]["rx"]["packets"]

    def close(self):
        """Delete the hosts."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def ip(*argv):
    """Return the output of `ip ARGV`."""
    return subprocess.run(["ip", *argv], check=True, capture_output=True, text=True).stdout


def device_status(name):
    """Return the state and statistics of a host's network device."""
    return json.loads(ip("-n", name, "-j", "-s", "link", "show", DEVICE))[0]
