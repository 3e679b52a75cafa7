"""Memory, descriptors and disk over many messages: flat, or how much they rise.

Messages are of 1, 16 and 400 KiB (90, 9 and 1 in a hundred), so that rows, segments and spool files
are all used and freed again. After each batch, once all is delivered, memory, descriptors and the
octets of the data directory are looked at. Flat means: over the last half of the run the line of
least squares rises by no more than 1 % of the mean, on disk also by no more than one segment, since
a segment (64 MiB) is there or not. A short run is not flat: SQLite's caches (16 MiB a connection)
fill as the history does.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

from relevo.service.control import ask
from runner import processes, servers
from runner.__main__ import build, empty

MIX = ((1024, 90), (16 * 1024, 9), (400 * 1024, 1))  # octets, of a hundred messages
SESSIONS = 20
MOST_RISE = 0.01
SEGMENT = 64 * 1024 * 1024  # queue.segment_size
WAIT_S = 120
SLACK = 5000  # rows of history that were written since it was last cut


def add_options(parser):
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--deliver", default="discard", choices=("discard", "maildir"))
    parser.add_argument(
        "--history", type=int, default=0, help="history.max_events (default: a tenth of messages)"
    )


def run(folder, args):
    """A line a sample and the slopes; True: all of it is flat."""
    load = build(folder)
    events = args.history or max(1000, args.messages // 10)
    server = servers.relevo(
        folder,
        "maildir" if args.deliver == "maildir" else "accept",
        port=processes.free_port(),
        settings=f"[history]\nmax_events = {events}\n[queue]\nmin_free_space = 0.0\n",
    )
    data = Path(folder) / "relevo/data"
    is_over = threading.Event()
    if args.deliver == "maildir":
        threading.Thread(target=take_out, args=(server.maildir, is_over), daemon=True).start()
    samples, sent = [], 0
    try:
        print("messages  messages/s  PSS MiB  RSS MiB  descriptors  data MiB  history rows")
        while sent < args.messages:
            started = time.monotonic()
            sent += send(load, server.port, args.messages // args.samples)
            wait_for_deliveries(data)
            rate = (sent - (samples[-1]["messages"] if samples else 0)) / (
                time.monotonic() - started
            )
            samples.append(look(server, data, sent))
            say(samples[-1], rate)
            for log in ("mail.log", "log"):
                os.truncate(f"{folder}/relevo/{log}", 0)
    finally:
        is_over.set()
        server.stop()
    return judge(samples, events)


def send(load, port, count):
    """About so many messages; how many were accepted."""
    accepted = 0
    for size, share in MIX:
        command = [load, "-p", str(port), "-s", str(size), "-c", str(SESSIONS), "-k", "100"]
        command += ["-n", str(max(1, count * share // 100))]
        said = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        if said["failed"]:
            raise RuntimeError(f"messages were refused: {said}")
        accepted += said["ok"]
    return accepted


def wait_for_deliveries(data):
    """Until the queue is empty and no connection is open."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        status = ask(data, "status")
        counters = status["counters"]
        if counters["accepted"] == counters["delivered"] and not status["connections"]:
            time.sleep(1.5)  # what is cleaned up once a second
            return
        time.sleep(0.2)
    raise RuntimeError(f"not delivered after {WAIT_S} s: {counters}")


def take_out(maildir, is_over):
    """Whoever reads the mailbox."""
    while not is_over.wait(0.5):
        empty(maildir)


def look(server, data, sent):
    rss, pss = processes.memory_kib(server.pid)
    return {
        "messages": sent,
        "pss": pss,
        "rss": rss,
        "descriptors": processes.descriptors(server.pid),
        "disk": sum(disk_octets(path) for path in data.rglob("*")),
        "history": history_rows(data),
    }


def disk_octets(path):
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0  # gone meanwhile


def history_rows(data):
    import apsw

    connection = apsw.Connection(str(data / "queue.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("select count(*) from event").fetchone()[0]
    finally:
        connection.close()


def say(sample, rate):
    print(
        f"{sample['messages']:8}  {rate:10.0f}  {sample['pss'] / 1024:7.1f}  "
        f"{sample['rss'] / 1024:7.1f}  {sample['descriptors']:11}  {sample['disk'] / 2**20:8.1f}  "
        f"{sample['history']:12}",
        flush=True,
    )


def judge(samples, events):
    last = samples[len(samples) // 2 :]
    is_flat = True
    for name in ("pss", "rss", "descriptors", "disk"):
        values = [sample[name] for sample in last]
        rise = rise_of(values)
        is_well = rise <= MOST_RISE
        if name == "disk":
            is_well |= rise * sum(values) / len(values) <= SEGMENT
        is_flat &= is_well
        print(f"{name}: {rise:+.2%} over the last half{'' if is_well else ', NOT FLAT'}")
    most = max(sample["history"] for sample in last)
    is_bounded = most <= events * 1.1 + SLACK
    print(f"history: {most} rows at most, {events} wanted{'' if is_bounded else ', NOT BOUNDED'}")
    return is_flat and is_bounded


def rise_of(values):
    """What the line of least squares rises from its first to its last point, by the mean."""
    count, mean = len(values), sum(values) / len(values)
    middle = (count - 1) / 2
    moments = sum((number - middle) * (value - mean) for number, value in enumerate(values))
    squares = sum((number - middle) ** 2 for number in range(count))
    return moments / squares * (count - 1) / mean if squares and mean else 0.0
