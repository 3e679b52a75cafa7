"""A program that finds zones of ours where /etc/resolv.conf says, though it cannot be told a port.

It runs in namespaces of its own (unshare(1)): a network that is only loopback, with NSD on port 53
there, and an /etc/resolv.conf that names it. So it can listen on sockets that are handed over to it
only; those still belong to the network they were made in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.dns_zones import answers, nsd_command
from harness.own_network import bring_loopback_up
from harness.waiting import wait_for

PORT = 53
TESTS = Path(__file__).parents[1]

ENTER = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from harness.dns_namespace import enter
enter(sys.argv[1], sys.argv[2:])
"""


def with_dns(folder: Path, zones: Mapping[str, Sequence[str]]) -> list[str]:
    """A command to stand in front of the program's; it keeps process id and descriptors.

    NSD is of the program's process group, which has to be killed at the end.
    """
    place = folder / "nsd"
    command = nsd_command(place, PORT, zones)
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (place / "command").write_text("\0".join(command))
    unshare = shutil.which("unshare")
    assert unshare is not None, "unshare of util-linux is missing"
    namespaces = [unshare, "--map-root-user", "--mount", "--net"]
    return [*namespaces, sys.executable, "-c", ENTER, str(place)]


def enter(place: str, command: list[str]) -> None:
    """Within the new namespaces: prepare them, then become the program."""
    bring_loopback_up()
    subprocess.run(["mount", "--bind", Path(place, "resolv.conf"), "/etc/resolv.conf"], check=True)
    nsd = Path(place, "command").read_text().split("\0")
    with Path(place, "nsd.log").open("ab") as log:
        subprocess.Popen(nsd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for(lambda: answers(PORT), what="an answer of NSD")
    os.execvp(command[0], command)
