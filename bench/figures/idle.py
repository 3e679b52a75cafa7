"""Memory of idle connections, without and with TLS."""

import os
import subprocess
import sys
import time

from runner import processes, servers

AIMS = {"plain": 8.0, "starttls": 28.0}  # KiB a connection
CROWD = f"{os.path.dirname(os.path.abspath(__file__))}/../../tests/harness/idle_crowd.py"


def add_options(parser):
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--servers", default="relevo", help="relevo,chasquid,postfix")


def run(folder, args):
    """A line for each server and kind; True: relevo met both aims."""
    is_met = True
    for name in args.servers.split(","):
        for how, aim in AIMS.items():
            kib = measure(name, folder, how, args.connections)
            is_met &= name != "relevo" or kib <= aim
            said = f"aim {aim:.0f}: {'met' if kib <= aim else 'MISSED'}" if name == "relevo" else ""
            print(f"{name} {how} {args.connections} connections: {kib:.1f} KiB each {said}")
    return is_met


def start(name, folder):
    if name != "relevo":
        return servers.ALL[name](folder, "accept", port=processes.free_port())
    settings = "[limits]\nconnections = 12000\n"
    return servers.relevo(folder, "accept", port=processes.free_port(), settings=settings)


def measure(name, folder, how, count):
    """KiB that a connection adds to the memory of a server which was just started."""
    server = start(name, folder)
    try:
        processes.settle(server.pid)
        before = processes.memory_kib(server.pid)[1]
        command = [sys.executable, CROWD, "127.0.0.1", str(server.port), str(count), how]
        crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            if crowd.stdout.readline().split() != ["standing", str(count)]:
                raise RuntimeError(f"{name} did not take {count} connections")
            time.sleep(2)
            after = processes.memory_kib(server.pid)[1]
        finally:
            crowd.kill()
            crowd.wait()
        return (after - before) / count
    finally:
        server.stop()
