"""The load: many sessions at once that send numbered messages and keep the client's ledger.

    client.py --listeners FILE --ledger FILE --run NAME [--mix kills] [--sessions 30] [--rate N]
              [--count N]

Sessions with an even number send MAIL, RCPT and DATA in one write and the message after the 354;
odd ones send MAIL, RCPT and BDAT with the message in one write. When the server goes, the client
notes which transmissions are without an answer, looks into the server's `listeners.json` for its
new port until it is back, and sends those messages again. TERM: what was begun is sent until it is
answered, then the client ends with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fault.load.ledger import LedgerWriter
from fault.load.messages import MIXES, Message

RETRY_S = 0.02
CONNECT_TIMEOUT_S = 5.0


class Load:
    """What all sessions share: which message is next, and when."""

    def __init__(self, options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        self.ledger = LedgerWriter(options.ledger)
        self.listeners: Path = options.listeners
        self.loop = loop
        self._fresh = MIXES[options.mix].messages(options.run)
        self._again: deque[Message] = deque()
        self._left: int = options.count
        self._interval = 1 / options.rate if options.rate else 0.0
        self._next_at = loop.time()
        self.is_stopping = False
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.is_stopping = True
        self.stopped.set()

    def next(self) -> Message | None:
        """The message to send next; None: nothing is left to do."""
        if self._again:
            return self._again.popleft()
        if self.is_stopping or self._left == 0:
            return None
        self._left -= 1
        return next(self._fresh)

    def send_again(self, message: Message) -> None:
        self._again.append(message)

    def delay(self) -> float:
        """Seconds until the next message may go."""
        now = self.loop.time()
        at = max(self._next_at, now - 0.05)
        self._next_at = at + self._interval
        return max(0.0, at - now)

    def address(self) -> tuple[str, int] | None:
        """Where the server says it listens."""
        try:
            entry = json.loads(self.listeners.read_text())
        except (OSError, ValueError):
            return None
        host, _, port = entry["smtp"][0].rpartition(":")
        return host, int(port)


class Session(asyncio.Protocol):
    """One connection: one transaction after the other."""

    def __init__(self, load: Load, *, uses_bdat: bool) -> None:
        self._load = load
        self._uses_bdat = uses_bdat
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._message: Message | None = None
        self._awaited = 0  # replies until the transaction is answered
        self._is_sent = False
        self._is_greeted = False
        self._is_said_hello = False
        self.ended: asyncio.Future[None] = load.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self._on_reply(int(line[:3]), line)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _on_reply(self, code: int, line: bytes) -> None:
        if code == 421:
            if self._message is not None:
                self._load.ledger.refused(self._message.name, code)
            self._close()
        elif not self._is_greeted:
            self._is_greeted = True
            self._write(b"EHLO client.test\r\n")
        elif not self._is_said_hello:
            self._is_said_hello = True
            self._proceed()
        elif self._message is None:
            self._close()  # the answer to QUIT
        elif code >= 400:
            self._load.ledger.refused(self._message.name, code)
            self._again()
            self._close()
        else:
            self._on_step(self._message, code, line)

    def _on_step(self, message: Message, code: int, line: bytes) -> None:
        self._awaited -= 1
        if code == 354:
            self._is_sent = True
            self._write(message.content() + b".\r\n")
        elif self._awaited == 0:
            message_id = line.rsplit(b" ", 1)[1].decode()
            self._load.ledger.accepted(message.name, message_id)
            self._message = None
            self._proceed()

    def _proceed(self) -> None:
        delay = self._load.delay()
        if delay > 0:
            self._load.loop.call_later(delay, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        message = self._load.next()
        if message is None:
            self._write(b"QUIT\r\n")
            return
        self._message = message
        envelope = f"MAIL FROM:<load@client.test>\r\nRCPT TO:<{message.recipient}>\r\n".encode()
        if self._uses_bdat:
            content = message.content()
            self._awaited, self._is_sent = 3, True
            self._write(envelope + b"BDAT %d LAST\r\n" % len(content) + content)
        else:
            self._awaited, self._is_sent = 4, False
            self._write(envelope + b"DATA\r\n")

    def _again(self) -> None:
        if self._message is not None:
            self._load.send_again(self._message)
            self._message = None

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._message is not None and self._is_sent:
            self._load.ledger.unanswered(self._message.name)
        self._again()
        if not self.ended.done():
            self.ended.set_result(None)


async def keep_session(load: Load, *, uses_bdat: bool) -> None:
    """Sessions one after the other until nothing is left to send."""
    while True:
        message = load.next()
        if message is None:
            return
        load.send_again(message)  # only to see that there is one
        address = load.address()
        if address is not None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, session = await load.loop.create_connection(
                        lambda: Session(load, uses_bdat=uses_bdat), *address
                    )
            except OSError:
                pass
            else:
                load.ledger.connected(address[1])
                await session.ended
                continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await load.stopped.wait()
            await asyncio.sleep(RETRY_S)


async def main(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    load = Load(options, loop)
    loop.add_signal_handler(signal.SIGTERM, load.stop)
    async with asyncio.TaskGroup() as group:
        for number in range(options.sessions):
            group.create_task(keep_session(load, uses_bdat=number % 2 == 1))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listeners", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--mix", choices=sorted(MIXES), default="kills")
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=-1)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(parse_options()))
