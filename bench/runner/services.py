"""Services that accept everything at once, for the hooks of the forms http, milter and policy."""

import asyncio
import struct

import uvloop

FORMS = ("http", "milter", "policy")


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
