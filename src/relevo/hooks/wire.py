"""What travels between a worker and a launcher: one request, then at most two messages back.

A request is one packet on the pool's socket, with descriptors: the caller's end for the answer,
then those files of the call whose octets are not in the packet. The launcher answers `STARTED`
when a call runs for longer than a moment, and always with one `Report` at the end.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PACKET = 200 * 1024
"""Octets; what a Unix packet socket carries with the kernel's default buffers."""

STARTED = b"s"
NOTICE_AFTER = 0.25
"""Seconds after which a running call is announced."""

LENT, RETIRE, KILL = b"l", b"r", b"k"
"""About a process that stays: it is lent (with its pipes), gets no new call, shall end now."""

MAX_STDERR = 16 * 1024
"""Octets of stderr that are kept; what follows is read and dropped."""


class How(Enum):
    """How a call ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed out"
    TOO_MUCH_OUTPUT = "too much output"
    TOO_MANY_PROCESSES = "too many processes"
    NOT_STARTED = "not started"
    BUSY = "busy"
    BROKEN = "broken"  # the launcher died, or the answer cannot be read


class Request(msgspec.Struct, array_like=True):
    """A program to run."""

    pool: str  # identity of the launcher's settings, which must be the caller's
    words: list[bytes]
    environment: bytes  # as `environment_block` writes it
    inputs: list[bytes | None]  # stdin and, with `is_v2`, the context; None: the next descriptor
    sent: float  # CLOCK_MONOTONIC
    patience: float  # seconds after `sent` in which it may be taken up
    timeout: float
    max_output: int
    max_processes: int
    is_v2: bool


class Report(msgspec.Struct, array_like=True):
    """How the call ended. `status`: exit status or signal number."""

    how: How
    status: int = 0
    output: bytes = b""  # v1: stdout; v2: what was written to descriptor 4
    errors: bytes = b""  # stderr, with v2 stdout too
    seconds: float = 0.0
    detail: str = ""

    def describe(self) -> str:
        """What happened, for logs and traces: `exit status 3`."""
        match self.how:
            case How.EXITED:
                return f"exit status {self.status}"
            case How.SIGNALLED:
                return f"ended by signal {self.status}"
            case How.TIMED_OUT:
                return f"it did not end within {self.seconds:.1f} s and was killed"
            case How.TOO_MUCH_OUTPUT:
                return "it wrote too much and was killed"
            case How.TOO_MANY_PROCESSES:
                return f"it started too many processes ({self.detail}) and was killed"
            case How.NOT_STARTED:
                return f"it cannot be started: {self.detail}"
            case How.BUSY:
                return "no place to run it came free in time"
            case How.BROKEN:
                return self.detail or "the hook's launcher died"


def environment_block(variables: Mapping[str, str]) -> bytes:
    """Variables as the system has them, `NAME=value` with zero octets between; no value has one.

    Text is UTF-8, or whatever octets it was made of.
    """
    block = "\0".join([f"{name}={value}" for name, value in variables.items()])
    if block.count("\0") >= max(1, len(variables)):
        clean = [f"{name}={value}".replace("\0", "") for name, value in variables.items()]
        block = "\0".join(clean)
    return block.encode("utf-8", "surrogateescape")


def read_environment(block: bytes) -> dict[bytes, bytes]:
    """The variables of a block."""
    if not block:
        return {}
    return dict([entry.split(b"=", 1) for entry in block.split(b"\0")])


encode_request = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
encode_report = msgspec.msgpack.Encoder().encode
decode_report = msgspec.msgpack.Decoder(Report).decode
