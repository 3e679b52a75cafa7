"""Two workers against one, and who uses the processors meanwhile.

The load generator shares the machine: its share is said, with that of the workers (their own code,
and the kernel for them), of all else, and of waiting for the disk or for nothing.
"""

import json
import os
import resource
import statistics
import subprocess
import time

from runner import processes, servers
from runner.__main__ import build, empty

CASES = ("accept:1024:50:5000", "accept:10240:50:3000", "maildir:1024:20:3000",
         "maildir:10240:20:2000")  # fmt: skip
SHARES = ("generator", "workers, own code", "workers, kernel", "others", "disk", "idle")


def add_options(parser):
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="WHAT:SIZE:SESSIONS:MESSAGES")


def run(folder, args):
    """A row for each case and number of workers, medians of runs in turns."""
    load = build(folder)
    print("| case | workers | messages/s | factor | " + " | ".join(SHARES) + " |")
    print("|---" * (4 + len(SHARES)) + "|")
    for case in args.cases:
        rates = {}
        for workers, found in measured(load, folder, case, args.reps).items():
            rates[workers] = statistics.median(rate for rate, _ in found)
            shares = [statistics.median(each[name] for _, each in found) for name in SHARES]
            said = " | ".join(f"{share:.0%}" for share in shares)
            factor = rates[workers] / rates[1]
            print(f"| {case} | {workers} | {rates[workers]:.0f} | {factor:.2f}× | {said} |")
    return True


def measured(load, folder, case, reps):
    """Runs by number of workers: messages/s until all is delivered, and shares."""
    what = case.split(":")[0]
    running = {}
    found = {1: [], 2: []}
    try:
        for workers in found:
            place = f"{folder}/{what}-{workers}"
            os.makedirs(place, exist_ok=True)
            settings = f"[server]\nworkers = {workers}\n"
            port = processes.free_port()
            running[workers] = servers.relevo(place, what, port=port, settings=settings)
            once(load, running[workers], case)  # what is made with the first use
        for _ in range(reps):
            for workers, server in running.items():
                found[workers].append(once(load, server, case))
    finally:
        for server in running.values():
            server.stop()
    return found


def once(load, server, case):
    what, size, sessions, messages = case.split(":")
    if what == "maildir":
        empty(server.maildir)
    processes.settle(server.pid)
    before, delivered = Times.now(server.pid), server.delivered()
    command = [load, "-p", str(server.port), "-s", size, "-c", sessions, "-k", "100"]
    said = json.loads(
        subprocess.run([*command, "-n", messages], capture_output=True, text=True).stdout
    )
    if said["ok"] != int(messages):
        raise RuntimeError(f"{case}: {said}")
    while server.delivered() - delivered < said["ok"]:
        time.sleep(0.005)
    after = Times.now(server.pid)
    return said["ok"] / (after.wall - before.wall), after.shares_since(before)


class Times:
    """Seconds of processors used up to a moment."""

    def __init__(self, wall, generator, own, kernel, machine):
        self.wall, self.generator, self.own, self.kernel = wall, generator, own, kernel
        self.machine = machine

    @classmethod
    def now(cls, pid):
        own = kernel = 0
        for process in processes.tree(pid):
            user, system = processes.own_ticks(process)
            own, kernel = own + user, kernel + system
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open("/proc/stat") as file:
            machine = [int(word) / processes.TICK for word in file.readline().split()[1:9]]
        generator = children.ru_utime + children.ru_stime
        return cls(time.time(), generator, own / processes.TICK, kernel / processes.TICK, machine)

    def shares_since(self, before):
        """By name, of all processors of the machine."""
        spent = [new - old for new, old in zip(self.machine, before.machine, strict=True)]
        total = sum(spent)
        known = {
            "generator": self.generator - before.generator,
            "workers, own code": self.own - before.own,
            "workers, kernel": self.kernel - before.kernel,
            "disk": spent[4],
            "idle": spent[3],
        }
        known["others"] = max(0.0, total - sum(known.values()))
        return {name: seconds / total for name, seconds in known.items()}
