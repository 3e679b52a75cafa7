"""The two dialogues with Dovecot's authentication server, over Unix sockets.

Lines end in LF, their fields are separated by TAB. Each question has a connection of its own:

    userdb  <  VERSION 1 …, SPID …
            >  VERSION 1 1, USER 1 NAME service=smtp
            <  USER 1 … (known) or NOTFOUND 1

    client  >  VERSION 1 1, CPID PID
            <  lines until DONE
            >  AUTH 1 PLAIN service=smtp secured no-penalty nologin resp=BASE64
            <  OK 1 … or FAIL 1 …

Whatever else happens is `DovecotFailed`, a FAIL that calls itself temporary included: trouble is
never "no such user" nor "wrong password". Connecting and the dialogue have a deadline each; what
Dovecot sends is bounded.
"""

from __future__ import annotations

import asyncio
import os
import re
from binascii import b2a_base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_TIMEOUT_S = 5.0
DIALOGUE_TIMEOUT_S = 5.0
MAX_LINE = 8192  # octets
MAX_HANDSHAKE_LINES = 100

_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f]")


class DovecotFailed(Exception):
    """No answer of use; the text is for the log."""


async def is_known(path: str, user: str) -> bool:
    """Does the userdb at socket `path` have this user? Raises DovecotFailed."""
    name = _safe(user)
    async with _connected(path) as lines:
        await lines.expect(b"VERSION", b"1")
        await lines.expect(b"SPID")
        lines.send(b"VERSION", b"1", b"1")
        lines.send(b"USER", b"1", name, b"service=smtp")
        match await lines.read():
            case [b"USER", b"1", *_]:
                return True
            case [b"NOTFOUND", b"1", *_]:
                return False
            case other:
                raise _unexpected(other)


async def is_proved(path: str, user: str, password: bytes) -> bool:
    """Does the client socket at `path` accept this password? Raises DovecotFailed."""
    name = _safe(user)
    if b"\0" in password:
        return False  # NUL ends the password in PLAIN: another one would be judged
    response = b2a_base64(b"\0".join((name, name, password)), newline=False)
    async with _connected(path) as lines:
        lines.send(b"VERSION", b"1", b"1")
        lines.send(b"CPID", b"%d" % os.getpid())
        for _ in range(MAX_HANDSHAKE_LINES):
            if await lines.read() == [b"DONE"]:
                break
        else:
            raise DovecotFailed("its greeting does not end")
        options = (b"service=smtp", b"secured", b"no-penalty", b"nologin")
        lines.send(b"AUTH", b"1", b"PLAIN", *options, b"resp=" + response)
        match await lines.read():
            case [b"OK", b"1", *_]:
                return True
            case [b"FAIL", b"1", *details] if b"temp" not in details:
                return False
            case other:
                raise _unexpected(other)


class _Lines:
    """A connection, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *fields: bytes) -> None:
        self._writer.write(b"\t".join(fields) + b"\n")

    async def read(self) -> list[bytes]:
        """The fields of the next line."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise DovecotFailed("it closed the connection")
        return line[:-1].split(b"\t")

    async def expect(self, *first: bytes) -> None:
        """A line whose first fields are these."""
        fields = await self.read()
        if tuple(fields[: len(first)]) != first:
            raise _unexpected(fields)


@asynccontextmanager
async def _connected(path: str) -> AsyncIterator[_Lines]:
    """A connection for one dialogue. What goes wrong in the block is DovecotFailed, too."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except TimeoutError as error:
        raise DovecotFailed(f"{path}: no connection in {CONNECT_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise DovecotFailed(f"{path}: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(DIALOGUE_TIMEOUT_S):
            yield _Lines(reader, writer)
    except TimeoutError as error:
        raise DovecotFailed(f"{path}: no answer in {DIALOGUE_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise DovecotFailed(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # the reader's own, for a line over its limit
        raise DovecotFailed(f"{path}: a line has more than {MAX_LINE} octets") from error
    except DovecotFailed as error:
        raise DovecotFailed(f"{path}: {error}") from error
    finally:
        writer.transport.abort()  # nothing is left to be said, and nobody to wait for


def _safe(user: str) -> bytes:
    if _UNSAFE.search(user):
        raise DovecotFailed("the user name has white space or control characters in it")
    return user.encode()


def _unexpected(fields: list[bytes]) -> DovecotFailed:
    # The first word only: the rest may be about a user.
    return DovecotFailed(f"unexpected answer {fields[0][:40]!r}")
