"""One hostile hook of each form in a server: its message gets 451, everybody else what they had.

What each form does with each kind of misbehaviour is tried without a server
(tests/unit/hooks/test_hostile_forms.py). Here the others are looked at: their latency, the memory
of the server, and that no process is left.
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harness.latency import Latency
from harness.processes import reaping
from harness.server import RelevoFactory
from system.hooks_hostile.site import HOSTILE, MEMORY_SLACK, TOKEN_NAME, HookSite
from system.hooks_hostile.test_hostile_hooks import SETTINGS, assert_undisturbed, watching_memory

pytestmark = pytest.mark.alone

IS_FULL = os.environ.get("RELEVO_HOSTILE") == "full"
DEADLINE_S = 1.0
SLACK_S = 2.0
BEHAVIOURS = ("pours", "silent", "closes", "garbage") if IS_FULL else ("pours",)
PROGRAMS = ("worker", "python")
SERVICES = ("http", "milter")  # policy is asked at rcpt, by the others too
OPENINGS = {
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n",
    "milter": b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\0\0\0\x7f\xff\xff\xffh",
}
ACTS = {
    "pours": "while True: os.write(out, b'x' * 65536)",
    "silent": "time.sleep(600)",
    "closes": "os._exit(0)",
    "garbage": "os.write(out, b'\\0\\xff\\n' * 10)",
}
WORKER = """#!{python}
import json, os, sys, time
os.environ["{name}"] = "{token}"
out = 1
while line := sys.stdin.buffer.readline():
    call = json.loads(line)
    sys.stdin.buffer.read(call["size"])
    if call["context"]["reverse_path"] == "{hostile}":
        {act}
    print(json.dumps({{"id": call["id"]}}), flush=True)
"""
PYTHON = """
import os, stat, time
out = next(n for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{{n}}")
           and stat.S_ISFIFO(os.fstat(n).st_mode))
async def post_data(message, context):
    if context.reverse_path == "{hostile}":
        {act}
"""


class Service(socketserver.ThreadingTCPServer):
    """Meets every client with the same behaviour."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, form: str, behaviour: str) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.form, self.behaviour = form, behaviour
        self.end = threading.Event()


class Visit(socketserver.BaseRequestHandler):
    """One connection."""

    server: Service
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError):
            self.request.recv(65536)
            match self.server.behaviour:
                case "pours":
                    self.request.sendall(OPENINGS[self.server.form])
                    while not self.server.end.is_set():
                        self.request.sendall(b"x" * 65536)
                case "silent":
                    self.server.end.wait(30)
                case "garbage":
                    self.request.sendall(b"\0\xff\r\n\r\n" * 10)


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HookSite]:
    with reaping(request) as reaper:
        factory = RelevoFactory(reaper, tmp_path_factory.mktemp("hostile-forms"))
        yield HookSite(factory(settings=SETTINGS))


def declare(site: HookSite, form: str, behaviour: str, target: str) -> None:
    """The only hook of the server from now on."""
    path = site.server.config.path / "relevo.toml"
    before = path.read_text().partition("\n[[hook]]")[0]
    path.write_text(
        f'{before}\n[[hook]]\nname = "peer"\nform = "{form}"\nstage = "post-data"\n'
        f'target = "{target}"\ntimeout = "{DEADLINE_S}s"\nprocesses = 1\n'
    )
    for name, text in (("peer-worker", WORKER), ("peer.py", PYTHON)):
        program = site.server.config.path / name
        act = ACTS[behaviour]
        program.write_text(
            text.format(
                python=sys.executable, name=TOKEN_NAME, token=site.token, hostile=HOSTILE, act=act
            )
        )
        program.chmod(0o755)
    after = len(site.server.process.output())
    site.server.reload()
    for _ in site.server.workers():
        site.server.wait_for_log("re-read", after=after)
    time.sleep(0.3)  # both workers


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("form", PROGRAMS)
def test_hostile_program(running: HookSite, form: str, behaviour: str) -> None:
    declare(running, form, behaviour, "peer.py" if form == "python" else "peer-worker")
    assert_undisturbed(lambda: met(running))
    assert running.send(sender="good@r.test").code == 250


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("form", SERVICES)
def test_hostile_service(running: HookSite, form: str, behaviour: str) -> None:
    with Service(form, behaviour) as service:
        threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True).start()
        place = f"127.0.0.1:{service.server_address[1]}"
        declare(running, form, behaviour, f"http://{place}/" if form == "http" else place)
        try:
            assert_undisturbed(lambda: met(running))
        finally:
            service.end.set()
            service.shutdown()


def met(site: HookSite) -> tuple[Latency, Latency]:
    """What the others feel, usually and meanwhile; all else is asserted."""
    idle = site.memory()
    with watching_memory(site, [0]):  # which disturbs a little, too
        usual = site.latency()
    log = len(site.server.process.output())
    most = [0]
    with site.others() as meanwhile, watching_memory(site, most):
        began = time.monotonic()
        reply = site.send()
        seconds = time.monotonic() - began
        site.wait_until_gone()
    assert reply.code == 451, reply
    assert seconds < DEADLINE_S + SLACK_S
    site.server.wait_for_log("peer: ", after=log)
    assert most[0] <= idle + MEMORY_SLACK
    return usual, meanwhile[0]
