"""Hooks that accept everything at once: worker and python, and services for http, milter, policy."""

import asyncio
import contextlib
import os
import socket
import struct
import sys
import time

import uvloop

from runner import processes

FORMS = ("http", "milter", "policy")
PORTS = {"hook-http": 9725, "hook-milter": 9726}
FILES = ("hook-worker", "hook-python")
CASES = (*FILES, *PORTS)
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

WORKER = f"""#!{sys.executable} -S
import sys
read, write = sys.stdin.buffer, sys.stdout.buffer.raw
while line := read.readline():
    number, size = line[6:line.index(b",")], int(line[line.index(b'"size":') + 7:].split(b",", 1)[0])
    read.read(size)
    write.write(b'{{"id":' + number + b'}}\\n')
"""
PYTHON = "async def post_data(message, context):\n    return None\n"


def declare(what, conf):
    """The `[[hook]]` of a case, "" for none; its file is put into the configuration directory."""
    if what not in CASES:
        return ""
    form = what.removeprefix("hook-")
    target = {"http": f"http://127.0.0.1:{PORTS.get(what)}/"}.get(
        form, f"127.0.0.1:{PORTS.get(what)}"
    )
    if what in FILES:
        target = "hook.py"
        with open(f"{conf}/{target}", "w") as file:
            file.write(WORKER if form == "worker" else PYTHON)
        os.chmod(f"{conf}/{target}", 0o755)
    return f'[[hook]]\nform = "{form}"\ntarget = "{target}"\nmax_concurrent = 64\n'


def start(what, base):
    """Start the service of a case; what ends it."""
    if what not in PORTS:
        return lambda: None
    port = PORTS[what]
    program = f"import sys; sys.path.insert(0, {HERE!r}); from runner import services; "
    program += f"services.serve({what.removeprefix('hook-')!r}, port={port})"
    process = processes.spawn([sys.executable, "-c", program], f"{base}/service.out")
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return lambda: processes.end(process)
        time.sleep(0.05)
    processes.end(process)
    raise RuntimeError(f"nothing answers on port {port}")


class Http(asyncio.Protocol):
    """An empty verdict behind each request."""

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            if len(self.buffer) < end + 4 + size:
                return
            self.buffer = self.buffer[end + 4 + size :]
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class Policy(Http):
    """dunno."""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\n\n")) >= 0:
            self.buffer = self.buffer[end + 2 :]
            self.transport.write(b"action=dunno\n\n")


class Milter(Http):
    """Negotiates every step and answers each as it must be; `steps`: what it does not want."""

    steps = 0

    def data_received(self, data):
        self.buffer += data
        said = b""
        while len(self.buffer) >= 4:
            (length,) = struct.unpack_from("!I", self.buffer)
            if len(self.buffer) < 4 + length:
                break
            letter, self.buffer = self.buffer[4:5], self.buffer[4 + length :]
            if letter == b"O":
                said += struct.pack("!IcIII", 13, b"O", 6, 0x1FF, self.steps)
            elif letter not in b"DKQA":
                said += struct.pack("!Ic", 1, b"c")
        if said:
            self.transport.write(said)


PROTOCOLS = {"http": Http, "milter": Milter, "policy": Policy}


async def _serve(form, pipe, port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(PROTOCOLS[form], "127.0.0.1", port)
    if pipe is not None:
        pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(form, pipe=None, port=0):
    """Until it is killed; the port goes into `pipe`."""
    uvloop.run(_serve(form, pipe, port))
