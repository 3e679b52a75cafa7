"""A mail server that takes everything and writes down what it took, before it says so.

    recorder.py --port-file FILE --record FILE [--delay SECONDS]

A line of the record is the time (of CLOCK_BOOTTIME), the sender's own message id from the
Received field, and the Subject. The answer to a message waits for `delay`, at random up to twice
as long: between the line and the answer is the time in which a killed sender has sent and does not
know it yet.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_ID = re.compile(rb"\sid\s+([0-9a-z]+)")
_SUBJECT = re.compile(rb"^Subject: (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that arrived whole."""

    at: float
    message_id: str
    name: str


def read_message(at: float, message: bytes) -> Taken:
    """What a message of the load is, by the lowest Received field. Raises ValueError."""
    head = message.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    ids, subject = _ID.findall(head), _SUBJECT.search(head)
    if not ids or subject is None:
        raise ValueError(f"no message of the load: {head[:500]!r}")
    return Taken(at, ids[-1].decode(), subject[1].decode())


def read_record(path: Path) -> dict[str, list[Taken]]:
    """All that was taken, by the sender's message id, in the order of time."""
    found: dict[str, list[Taken]] = defaultdict(list)
    for line in path.read_text().splitlines():
        at, message_id, name = line.split()
        found[message_id].append(Taken(float(at), message_id, name))
    return found


class Recorder:
    """The server."""

    def __init__(self, record: Path, delay_s: float) -> None:
        self._descriptor = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._delay_s = delay_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender was killed
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 recorder.test\r\n")
        while line := await reader.readline():
            match line.split()[0].upper():
                case b"EHLO":
                    writer.write(b"250-recorder.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    await self._take(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 2.0.0 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    return
                case _:
                    writer.write(b"250 2.0.0 ok\r\n")

    async def _take(self, message: bytes) -> None:
        taken = read_message(time.clock_gettime(time.CLOCK_BOOTTIME), message)
        os.write(self._descriptor, f"{taken.at} {taken.message_id} {taken.name}\n".encode())
        await asyncio.sleep(random.uniform(0, 2 * self._delay_s))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    recorder = Recorder(options.record, options.delay)
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0, limit=4 * 1024 * 1024)
    port = server.sockets[0].getsockname()[1]
    new = options.port_file.with_suffix(".new")
    new.write_text(str(port))
    new.rename(options.port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
