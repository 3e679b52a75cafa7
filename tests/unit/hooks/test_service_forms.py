"""Hooks that are services: what each form does with a peer that is dead, slow, or breaks the rules.

The peers are sockets of the test that say what they are told to, whatever they are asked.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from relevo.config import Config, load
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Accept, Client, PostDataContext, Refuse
from relevo.hooks.contract.contexts import RcptContext
from relevo.hooks.host import PoolSockets
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.hooks.stages import StageHooks

START = b"From: a@r.test\r\nSubject: hello\r\n\r\nA line.\r\n"
NEGOTIATED = struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0)


def packet(letter: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + letter + data


GOOD = {
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "milter": NEGOTIATED + packet(b"a"),
    "policy": b"action=dunno\n\n",
}
STAGE = {"http": "rcpt", "milter": "post-data", "policy": "rcpt"}
HOSTILE = {
    ("http", "garbage"): b"\x00\xff garbage \r\n\r\n",
    ("http", "half"): b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{",
    ("http", "oversize"): b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
    ("http", "endless-head"): b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000,
    ("http", "two-lengths"): GOOD["http"].replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"),
    ("http", "status"): b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}",
    ("http", "no-verdict"): b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"no": 1}',
    ("http", "bad-chunk"): b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n",
    ("milter", "garbage"): b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ("milter", "half"): NEGOTIATED + b"\0\0\0\x20i\0\0",
    ("milter", "oversize"): NEGOTIATED + b"\x7f\xff\xff\xffb",
    ("milter", "unasked"): NEGOTIATED + packet(b"h", b"X-Evil\0y\0"),
    ("milter", "steps"): struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x40000000),
    ("milter", "reply"): NEGOTIATED + packet(b"y", b"250 fine\0"),
    ("policy", "garbage"): b"\xff\xfe\n\n",
    ("policy", "half"): b"action=dun",
    ("policy", "oversize"): b"action=" + b"x" * 100_000,
    ("policy", "no-action"): b"reaction=ok\n\n",
    ("policy", "unknown"): b"action=filter smtp:x\n\n",
    ("policy", "header"): b"action=prepend no header\n\n",
}  # fmt: skip


@dataclass
class Peer:
    """A service; `answers` are said in turn, one for each time that something is heard."""

    answer: bytes = b""
    ends: bool = True  # the connection, behind the answer
    delay_s: float = 0.0
    connections: int = 0
    ends_at_once: bool = False  # the connection, once, without a word

    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self.tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.read(65536):
            if self.ends_at_once:
                self.ends_at_once = False
                return
            await asyncio.sleep(self.delay_s)
            writer.write(self.answer)
            if self.ends:
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                break


@pytest.fixture
def sockets() -> Iterator[PoolSockets]:
    made = PoolSockets.make()
    yield made
    made.close()


@asynccontextmanager
async def serving(
    folder: Path, form: str, peer: Peer, sockets: PoolSockets, more: str = ""
) -> AsyncIterator[Asker]:
    """Somebody who asks the peer."""
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asker = Asker(form, declared(folder, form, f"127.0.0.1:{port}", more), sockets)
    async with server:
        yield asker
        asker.caller.close()
        server.close()
        for task in [*peer.tasks]:
            task.cancel()
        await asyncio.gather(*peer.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports end


def declared(folder: Path, form: str, place: str, more: str = "") -> Config:
    target = f"http://{place}/hook" if form == "http" else place
    (folder / "relevo.toml").write_text(
        f'hostname = "mx.test"\n[server]\nworkers = 1\n[[hook]]\nname = "peer"\nform = "{form}"\n'
        f'stage = "{STAGE[form]}"\ntarget = "{target}"\ntimeout = "400ms"\n{more}'
    )
    return load(folder)


class Asker:
    """Asks the hook, at the stage of its form, again and again."""

    def __init__(self, form: str, config: Config, sockets: PoolSockets) -> None:
        self.caller = Caller(config, sockets)
        self._form = form

    async def ask(self) -> tuple[object, str]:
        """The refusal, or None, and the reason that is recorded."""
        client = Client("192.0.2.7", 25, "c")
        if STAGE[self._form] == "rcpt":
            context = RcptContext(
                client=client, listener="SMTP", reverse_path="a@r.test", forward_path="b@d.test"
            )
            outcome = await StageHooks(self.caller).ask(context)
            return outcome.refusal, outcome.records[0].reason
        hooks = PostDataHooks(self.caller)
        about = PostDataContext(
            message_id="id1", client=client, reverse_path="a@r.test", forward_paths=("b@d.test",)
        )
        said = await hooks.ask(hooks.find(), about, HookMessage(START), raw_hello="c")
        refusal = None if isinstance(said.verdict, Accept) else said.verdict
        return refusal, said.records[0].reason


TEMPFAIL = Refuse(451, "4.7.1", "Temporary policy failure, try again later")


@pytest.mark.parametrize("form", GOOD)
async def test_a_good_answer_is_taken(tmp_path: Path, sockets: PoolSockets, form: str) -> None:
    async with serving(tmp_path, form, Peer(GOOD[form]), sockets) as asker:
        assert await asker.ask() == (None, "")


@pytest.mark.parametrize(("form", "what"), HOSTILE)
async def test_an_answer_that_breaks_the_rules_is_a_failure(
    tmp_path: Path, sockets: PoolSockets, form: str, what: str
) -> None:
    async with serving(tmp_path, form, Peer(HOSTILE[form, what]), sockets) as asker:
        refusal, reason = await asker.ask()
        assert refusal == TEMPFAIL
        assert reason


@pytest.mark.parametrize("form", GOOD)
async def test_a_dead_service_is_a_failure(tmp_path: Path, sockets: PoolSockets, form: str) -> None:
    config = declared(tmp_path, form, "127.0.0.1:1", 'on_error = "accept"\n')
    config = replace(config, hooks=replace(config.hooks, breaker_failures=2))
    asker = Asker(form, config, sockets)
    refusal, reason = await asker.ask()
    assert refusal is None
    assert "no connection to 127.0.0.1:1" in reason
    await asker.ask()
    assert "paused" in (await asker.ask())[1], "the breaker is open"


@pytest.mark.parametrize("form", GOOD)
@pytest.mark.parametrize("answer", [b"", None], ids=["silent", "late"])
async def test_no_answer_in_time_is_a_failure_and_leaves_nothing(
    tmp_path: Path, sockets: PoolSockets, form: str, answer: bytes | None
) -> None:
    peer = Peer(GOOD[form] if answer is None else answer, ends=False, delay_s=0.6)
    async with serving(tmp_path, form, peer, sockets) as asker:
        refusal, reason = await asker.ask()
        assert (refusal, "no answer within 0.4 s" in reason) == (TEMPFAIL, True)
        peer.delay_s = 0.0
        peer.answer, peer.ends = GOOD[form], True
        assert (await asker.ask())[0] is None, "the late answer is not taken for the next call's"
        assert peer.connections == 2


@pytest.mark.parametrize("form", ["http", "policy"])
async def test_a_connection_is_used_again(tmp_path: Path, sockets: PoolSockets, form: str) -> None:
    peer = Peer(GOOD[form], ends=False)
    async with serving(tmp_path, form, peer, sockets) as asker:
        for _ in range(5):
            assert (await asker.ask())[0] is None
        assert peer.connections == 1


@pytest.mark.parametrize("form", ["http", "policy"])
async def test_a_kept_connection_that_died_is_replaced(
    tmp_path: Path, sockets: PoolSockets, form: str
) -> None:
    peer = Peer(GOOD[form], ends=False)
    async with serving(tmp_path, form, peer, sockets) as asker:
        assert (await asker.ask())[0] is None
        peer.ends_at_once = True
        assert (await asker.ask())[0] is None
        assert peer.connections == 2


@pytest.mark.parametrize("form", GOOD)
async def test_more_calls_than_places_wait_and_then_fail(
    tmp_path: Path, sockets: PoolSockets, form: str
) -> None:
    peer = Peer(GOOD[form], delay_s=0.3)
    more = 'max_concurrent = 1\n[hooks]\nslot_timeout = "100ms"\n'
    async with serving(tmp_path, form, peer, sockets, more) as asker:
        said = await asyncio.gather(asker.ask(), asker.ask())
        assert said[0] == (None, "")
        assert said[1][0] == TEMPFAIL
        assert said[1][1].startswith("no place to run it came free in time")
