"""What a message costs a worker without sockets: CPU time, and calls by cProfile.

usage: python -m runner.message_cost [--messages 5000] [--rounds 20] [--profile] [FORM ...]  (in bench/)

FORM is `none` (no hook; the default), `worker`, `python`, `http` or `milter` (one that accepts).
A whole worker runs in this process, with its store (in memory), dispatcher and mail log; 50 clients
whose transports are objects speak SMTP with it, one command a turn, with the real connection and
everything behind it. Shown is CPU time of the worker's process, of it that of its loop's thread, and
wall time, each the least and the median of all rounds: a busy machine makes rounds dearer, never
cheaper. `--profile` shows calls and functions of the loop's thread and of the writer's instead.
"""

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import uvloop

from relevo.config import load
from relevo.queue import create_database
from relevo.queue.writer import Writer
from relevo.reception import Mode, SmtpConnection
from relevo.service.hook_host import HookHost
from relevo.service.shared_tables import SharedTables
from relevo.service.worker import Worker, WorkerSetup
from runner import servers, services

CLIENTS = 50
PER_CONNECTION = 100
WARM_UP = 1000  # messages
COMMANDS = (
    b"MAIL FROM:<load@bench.example>\r\n",
    b"RCPT TO:<user@bench.test>\r\n",
    b"DATA\r\n",
)


def message(size):
    line = b"The quick brown fox jumps over the lazy dog, again and again, 0123456\r\n"
    head = (
        b"From: <load@bench.example>\r\nTo: <user@bench.test>\r\nSubject: bench\r\n"
        b"Date: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <bench@bench.example>\r\n\r\n"
    )
    return head + (line * (size // len(line) + 1))[:size] + b"\r\n.\r\n"


class Client(asyncio.Transport):
    """A connection's transport, and the client behind it."""

    def __init__(self, run):
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.left, self.step = 0, -2
        self.words = (*COMMANDS, run.message)

    def start(self):
        self.step, self.left = -2, PER_CONNECTION
        self.connection = SmtpConnection(self.run.services, Mode.SMTP, self.run.connections)
        self.connection.connection_made(self)

    def write(self, data):
        self.loop.call_soon(self.hear, data)

    def hear(self, data):
        step = self.step
        if step == -2:
            self.step = -1
            self.connection.data_received(b"EHLO load.test\r\n")
            return
        if data[:1] not in b"23":
            sys.exit(f"the server says {data!r}")
        if step == 3:
            self.run.done += 1
            self.left -= 1
            if not self.left:
                self.connection.connection_lost(None)
                self.run.on_end(self)
                return
        self.step = step = (step + 1) % 4
        self.connection.data_received(self.words[step])

    def is_closing(self):
        return False

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def abort(self):
        raise AssertionError("the server ended a connection")

    close = abort


class Run:
    """Messages of all clients, again and again."""

    def __init__(self, worker, size):
        self.services, self.connections = worker._services, worker._connections
        self.message = message(size)
        self.clients = [Client(self) for _ in range(CLIENTS)]
        self.done = 0

    def on_end(self, client):
        self.ended += 1
        if self.started < self.wanted:
            self.started += 1
            client.start()
        elif self.ended == self.wanted:
            self.finished.set()

    async def round(self, messages):
        self.wanted = max(1, messages // PER_CONNECTION)
        self.ended = 0
        self.finished = asyncio.Event()
        self.started = min(self.wanted, CLIENTS)
        for client in self.clients[: self.started]:
            client.start()
        await self.finished.wait()
        while await self.services.store.waiting():
            self.services.store._counted_at = float("-inf")
            await asyncio.sleep(0.005)
        return self.wanted * PER_CONNECTION


def prepare(folder, form, port):
    (folder / "domains/bench.test").mkdir(parents=True)
    declared = ""
    if form != "none":
        target = {"http": f"http://127.0.0.1:{port}/"}.get(form, f"127.0.0.1:{port}")
        if form in ("worker", "python"):
            target = "hook.py"
            (folder / target).write_text(services.WORKER if form == "worker" else services.PYTHON)
            (folder / target).chmod(0o755)
        declared = f'[[hook]]\nform = "{form}"\ntarget = "{target}"\nmax_concurrent = 64\n'
    (folder / "relevo.toml").write_text(
        f'hostname = "mx.bench.test"\ndata_dir = "{folder}/data"\n[server]\nworkers = 1\n'
        f'[delivery]\nlocal = "discard"\n[mail_log]\npath = "{folder}/mail.log"\n{declared}'
    )
    (folder / "data").mkdir()
    servers.add_user(folder)
    config = load(folder)
    create_database(config.data_dir)
    return config


writers = []
"""Profiles of writers' threads."""


def profile_writer():
    """The writer's thread has a profile of its own."""
    run = Writer._run

    def profiled(self):
        profile = cProfile.Profile(time.thread_time)
        writers.append(profile)
        profile.runcall(run, self)

    Writer._run = profiled


async def measure(config, sockets, options):
    """CPU time and wall time of each round, in µs a message."""
    read, write = os.pipe()
    setup = WorkerSetup(0, config, lambda: config, (), SharedTables(1), write, sockets)
    worker = Worker(setup)
    serving = asyncio.create_task(worker.main())
    await asyncio.to_thread(os.read, read, 1)
    run = Run(worker, options.size)
    await run.round(WARM_UP)
    found, profile, count = [], cProfile.Profile(time.thread_time), 0
    if options.profile:
        profile.enable()
        count = await run.round(options.messages)
        profile.disable()
    else:
        for _ in range(options.rounds):
            own, loop, wall = time.process_time(), time.thread_time(), time.time()
            count = await run.round(options.messages)
            spent = (time.process_time() - own, time.thread_time() - loop, time.time() - wall)
            found.append([each / count * 1e6 for each in spent])
    worker._stop.set()
    await serving
    if options.profile:
        show("loop", profile, count, options)
        show("writer", writers[0], count + WARM_UP, options)
    return found


def show(thread, profile, count, options):
    stats = pstats.Stats(profile)
    print(f"calls a message of the {thread}'s thread: {stats.total_calls / count:.0f}")
    stats.sort_stats(options.sort).print_stats(options.lines)


def one(form, options):
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        process, port = None, 0
        if form in services.FORMS:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=services.serve, args=(form, theirs))
            process.start()
            port = ours.recv()
        config = prepare(Path(name), form, port)
        host = HookHost(config)
        try:
            found = uvloop.run(measure(config, host.sockets, options))
        finally:
            host.control.close()
            os.waitpid(host.pid, 0)
            if process:
                process.kill()
                process.join()
    if found:
        process, loop, wall = ([round(min(each)), round(median(each))] for each in zip(*found))
        print(
            f"{form:<8} µs a message, least and median: process {process}, "
            f"its loop's thread {loop}, wall {wall}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--sort", default="tottime")
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("forms", nargs="*", default=["none"])
    options = parser.parse_args()
    if options.profile:
        profile_writer()
    for form in options.forms:
        one(form, options)


if __name__ == "__main__":
    main()
