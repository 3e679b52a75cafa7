"""Memory of large messages on their way in and to their place."""

import json
import subprocess
import threading

from runner import processes, servers
from runner.__main__ import build

MB = 1_000_000
CASES = ((49 * MB, 1, 30), (20 * MB, 20, 120))  # octets, at once, most MB over idle


def add_options(parser):
    parser.add_argument("--servers", default="relevo", help="relevo,chasquid,postfix")
    parser.add_argument("--deliver", default="accept", choices=("accept", "maildir"))


def run(folder, args):
    """A line for each server and case; True: relevo met both aims."""
    load, is_met = build(folder), True
    for name in args.servers.split(","):
        for size, sessions, aim in CASES:
            grown = measure(load, name, folder, args.deliver, size, sessions) * 1024 / MB
            is_met &= name != "relevo" or grown <= aim
            said = f"aim {aim}: {'met' if grown <= aim else 'MISSED'}" if name == "relevo" else ""
            print(
                f"{name} {args.deliver} {sessions} × {size // MB} MB at once: "
                f"{grown:.0f} MB over idle {said}"
            )
    return is_met


def measure(load, name, folder, what, size, sessions):
    """KiB over idle, at most, from the first octet to the last delivery."""
    server = servers.ALL[name](folder, what, port=processes.free_port())
    try:
        processes.settle(server.pid)
        idle = processes.memory_kib(server.pid)[1]
        peak, is_over = [idle], threading.Event()

        def watch():
            while not is_over.wait(0.01):
                peak[0] = max(peak[0], processes.memory_kib(server.pid)[1])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            command = [load, "-p", str(server.port), "-s", str(size)]
            command += ["-c", str(sessions), "-n", str(sessions)]
            said = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
            processes.settle(server.pid)
        finally:
            is_over.set()
            watcher.join()
        if said["ok"] != sessions:
            raise RuntimeError(f"{name} took {said['ok']} of {sessions} messages: {said}")
        return peak[0] - idle
    finally:
        server.stop()
