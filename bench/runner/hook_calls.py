"""CPU time of a hook call at post-data, 1 KiB, many in flight, without a server around it.

usage: python -m runner.hook_calls [--calls 5000] [--in-flight 25] [FORM ...]     (in bench/)

Forms: worker, python, exec-sh, http, milter, policy. For each: microseconds of processor time a call
in the caller (what a worker of the server would spend), below the hook host (launchers and hooks),
and in the service, each the least of several rounds; wall time is shown for orientation.
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import uvloop

from relevo.config import load
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Accept, Client, PostDataContext
from relevo.hooks.contract.contexts import RcptContext
from relevo.hooks.host import PoolSockets, start_host
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.hooks.settings import pool_settings
from relevo.hooks.stages import StageHooks
from runner import services

MESSAGE = b"From: a@r.test\r\nTo: b@d1.test\r\nSubject: hello\r\n\r\n" + b"x" * 76 + b"\r\n"
MESSAGE += (b"y" * 76 + b"\r\n") * 11


def declared(folder, form, port):
    stage = "rcpt" if form == "policy" else "post-data"
    if form in ("worker", "python"):
        target = "hook.py"
        (folder / target).write_text(services.WORKER if form == "worker" else services.PYTHON)
        (folder / target).chmod(0o755)
    elif form == "exec-sh":
        target, form = "hook.sh", "exec"
        (folder / target).write_text("#!/bin/sh\nexit 0\n")
        (folder / target).chmod(0o755)
    else:
        target = f"127.0.0.1:{port}"
        target = f"http://{target}/" if form == "http" else target
    (folder / "relevo.toml").write_text(
        f'hostname = "mx.test"\n[server]\nworkers = 1\n[[hook]]\nform = "{form}"\n'
        f'stage = "{stage}"\nmax_concurrent = 64\nprocesses = 1\ntarget = "{target}"\n'
    )
    return load(folder)


def cpu_below(root):
    """Seconds of all processes below one, those that have ended and were waited for included."""
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        waiting += map(int, below)
    return total


async def calls(config, sockets, count, in_flight, rounds, host, service):
    caller = Caller(config, sockets)
    client = Client("192.0.2.7", 25, "client.test")
    if config.hook[0].form == "policy":
        stage = StageHooks(caller)
        context = RcptContext(
            client=client, listener="SMTP", reverse_path="a@r.test", forward_path="b@d1.test"
        )

        async def ask():
            assert (await stage.ask(context)).refusal is None

    else:
        hooks = PostDataHooks(caller)
        context = PostDataContext(
            message_id="id1", client=client, reverse_path="a@r.test", forward_paths=("b@d1.test",)
        )

        async def ask():
            said = await hooks.ask(hooks.find(), context, HookMessage(MESSAGE), raw_hello="c")
            assert isinstance(said.verdict, Accept), said.records

    async def several(number):
        for _ in range(number):
            await ask()

    await several(20)
    best = [float("inf")] * 4
    for _ in range(rounds):
        own, hosts, served, began = time.process_time(), cpu_below(host), service(), time.time()
        await asyncio.gather(*(several(count // in_flight) for _ in range(in_flight)))
        spent = (time.process_time() - own, cpu_below(host) - hosts, service() - served)
        found = [*spent, time.time() - began]
        best = [min(a, b * 1e6 / count) for a, b in zip(best, found, strict=True)]
    return best


def measure(form, options):
    with tempfile.TemporaryDirectory() as name:
        process, port = None, 0
        if form in services.FORMS:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=services.serve, args=(form, theirs))
            process.start()
            port = ours.recv()
        config = declared(Path(name), form, port)
        sockets = PoolSockets.make()
        host, control = start_host(sockets, pool_settings(config))
        served = (lambda: cpu_below(process.pid)) if process else (lambda: 0.0)
        try:
            return uvloop.run(
                calls(
                    config, sockets, options.calls, options.in_flight, options.rounds, host, served
                )
            )
        finally:
            control.close()
            os.waitpid(host, 0)
            sockets.close()
            if process:
                process.kill()
                process.join()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "forms", nargs="*", default=["worker", "python", "http", "milter", "policy"]
    )
    options = parser.parse_args()
    print(f"{'form':<8} caller  host+hooks  service  wall   (µs a call)")
    for form in options.forms:
        own, hosts, served, wall = measure(form, options)
        print(f"{form:<8} {own:6.0f}  {hosts:10.0f}  {served:7.0f}  {wall:5.0f}", flush=True)


if __name__ == "__main__":
    main()
