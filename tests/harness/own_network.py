"""A test in a network of its own: every port is free there, those below 1024 too.

Tests marked `own_network` run in another pytest, within namespaces that an ordinary user may make
(unshare(1)): there they are root, the network is only loopback, and what is mounted is private. So
they can serve what cannot be told another port (25, 53, 443) without meeting the machine's own
services or each other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.debian import ROOT

_INSIDE = "RELEVO_TEST_OWN_NETWORK"
_NOT_PASSED_ON = ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "RELEVO_SKIP_REPORT")
TIMEOUT_S = 170.0
ENTER = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from harness.own_network import enter
enter(sys.argv[1:])
"""
# <linux/sockios.h>, <linux/if.h>
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def is_inside() -> bool:
    """Is this process in the network of one test?"""
    return _INSIDE in os.environ


def run_inside(test: str) -> None:
    """Run the test with this node id there; fails as it does."""
    unshare = shutil.which("unshare")
    assert unshare is not None, "unshare of util-linux is missing"
    with tempfile.TemporaryDirectory(prefix="relevo-own-network-") as folder:
        command = [
            *(unshare, "--map-root-user", "--net", "--mount", sys.executable, "-c", ENTER),
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                f"--basetemp={folder}/tests",
                test,
            ),
        ]
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED_ON}
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, _INSIDE: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    assert process.returncode == 0, output.decode(errors="replace")


def enter(command: list[str]) -> None:
    """Within the new namespaces: prepare the network, then become the command."""
    bring_loopback_up()
    os.execvp(command[0], command)


def bring_loopback_up() -> None:
    """As `ip link set lo up`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def resolve_at_loopback(folder: Path) -> None:
    """Within: /etc/resolv.conf names a server at 127.0.0.1, port 53, for every program."""
    assert is_inside()
    path = folder / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
