"""A network of one run's own: only loopback, every port free, and a name server at port 53 there.

Mail that is relayed goes to port 25 of the mail exchanger of `sink.test`, as each server looks it
up by itself: so those that can send to no other port or name server take part as well.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from runner import verification

TESTS = Path(__file__).resolve().parents[2] / "tests"
SINK = "127.0.0.2"
DOMAIN = "sink.test"
ZONES = {"test.": ("sink MX 10 mx.sink", f"mx.sink A {SINK}")}
_INSIDE = "RELEVO_BENCH_OWN_NETWORK"


def is_inside():
    return _INSIDE in os.environ


def run_inside():
    """Run this program anew, with the same words, within such a network; its exit status."""
    sys.path.insert(0, str(TESTS))
    from harness.dns_namespace import with_dns

    with tempfile.TemporaryDirectory(prefix="bench-dns-", ignore_cleanup_errors=True) as folder:
        zones = {"test.": (*ZONES["test."], *verification.zone_rows(folder))}
        command = with_dns(Path(folder), zones)
        if os.geteuid() == 0:
            command.remove("--map-root-user")  # Postfix needs its other users
        module = [sys.executable, "-m", "runner", *sys.argv[1:]]
        environment = {**os.environ, _INSIDE: "yes"}
        process = subprocess.Popen(command + module, env=environment, start_new_session=True)
        try:
            return process.wait()
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # the name server is left
