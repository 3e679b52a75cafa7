"""A queue of a million messages: restart, accepting, memory, commands of the operator."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

from relevo.queue import create_database, new_id
from relevo.queue.commit import Adding, Batch, NewRows
from relevo.queue.database import QueuePaths, Transaction, connect
from relevo.queue.disk import Disk
from relevo.queue.records import encode
from relevo.queue.store import Envelope, QueuedRecipient, TargetKind
from runner import processes, servers
from runner.__main__ import build

DUE = 1000  # messages that are due when the server starts
DOMAINS = 1000  # of the others
BATCH = 2000  # messages of a transaction
CONTENT = b"From: <load@bench.example>\r\nSubject: bench\r\n\r\n" + b"x" * 62 * 16 + b"\r\n"
ROUNDS = 3
COMMANDS = (("queue", "summary"), ("queue", "list"), ("status",))


def add_options(parser):
    parser.add_argument("--messages", type=int, default=1_000_000)


def run(folder, args):
    """Each figure with its aim; True: all were met."""
    load = build(folder)
    full = servers.relevo(
        f"{folder}/full",
        "accept",
        port=processes.free_port(),
        prepare=lambda data: fill(Path(data), args.messages),
    )
    empty = servers.relevo(f"{folder}/empty", "accept", port=processes.free_port())
    try:
        until = first_delivery(full) - full.started
        results = [said("start to first delivery", until, 5, "s")]
        wait_for_delivered(full, DUE)
        rates = {full: [], empty: []}
        for _ in range(ROUNDS):
            for server, found in rates.items():
                found.append(accept(load, server))
        ratio = max(rates[full]) / max(rates[empty])
        print(f"accepts: {max(rates[full]):.0f}/s, empty queue {max(rates[empty]):.0f}/s")
        results.append(said("empty queue's rate over the full one's", 1 / ratio, 1.25, ""))
        grown = (processes.memory_kib(full.pid)[1] - processes.memory_kib(empty.pid)[1]) / 1024
        results.append(said("memory of all processes over an empty queue's", grown, 100, "MiB"))
        for command in COMMANDS:
            results.append(said(f"relevo {' '.join(command)}", time_of(folder, command), 1, "s"))
        full.stop()
        began = time.time()
        full = full.again()
        results.append(said("stop, start, greeting", time.time() - began, 5, "s"))
    finally:
        full.stop()
        empty.stop()
    return all(results)


def said(what, value, aim, unit):
    """Print a figure; whether it is within its aim."""
    print(f"{what}: {value:.2f} {unit} (aim {aim}: {'met' if value <= aim else 'MISSED'})")
    return value <= aim


def first_delivery(server):
    """When the mail log had it."""
    wait_for_delivered(server, 1)
    return time.time()


def wait_for_delivered(server, count):
    end = time.time() + 60
    while server.delivered() < count:
        if time.time() > end:
            raise RuntimeError(f"{server.name} did not deliver what was due")
        time.sleep(0.002)


def accept(load, server):
    """Messages a second."""
    processes.settle(server.pid)
    command = [load, "-p", str(server.port), "-s", "1024", "-c", "50", "-k", "100", "-n", "10000"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    if found["ok"] != 10000:
        raise RuntimeError(f"{server.name}: {found}")
    return found["rate"]


def time_of(folder, command):
    """Seconds of a whole command, the fastest of three."""
    config_dir = f"{folder}/full/relevo/conf"
    words = [f"{servers.VENV_BIN}/relevo", *command, "--config-dir", config_dir]
    times = []
    for _ in range(3):
        began = time.time()
        subprocess.run(words, check=True, capture_output=True)
        times.append(time.time() - began)
    return min(times)


def fill(data, count):
    """Messages that wait for other servers, and some for our own users that are due."""
    now = time.time()
    create_database(data)
    paths = QueuePaths(data)
    with contextlib.closing(connect(paths, Disk())) as database:
        database.pragma("synchronous", "OFF")
        for first in range(0, count, BATCH):
            batch = Batch(0)
            for number in range(first, min(first + BATCH, count)):
                batch.gather(Adding(None, rows(number, now), False), lambda *_: ("", 0))
            with Transaction(database):
                batch.execute(database)
            if not first % (50 * BATCH):
                database.wal_checkpoint()
        database.wal_checkpoint()
    size = paths.database.stat().st_size >> 20
    print(f"{count} messages, {size} MiB, made in {time.time() - now:.0f} s", flush=True)


def rows(number, now):
    """One message, as `relevo.queue.sqlite` would write it."""
    created = now - 3600
    identity = new_id(created)
    if number < DUE:
        recipient = QueuedRecipient(TargetKind.MAIL, "user@bench.test", "user@bench.test")
        route, due = "local", now
    else:
        address = f"user@d{number % DOMAINS}.bulk.test"
        recipient = QueuedRecipient(TargetKind.MAIL, address, address)
        route, due = f"mx:d{number % DOMAINS}.bulk.test", now + 3600 + number % 3600
    envelope = encode(Envelope("sender@bench.example"))
    message = (identity, created, len(CONTENT), envelope, CONTENT, None, None)
    return NewRows(message, [(identity, 0, route, due, 0, None, encode((recipient,)))], [], None)
