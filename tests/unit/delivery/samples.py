"""Units, attempts and a directory to test with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from relevo.delivery.attempt import Attempt, pending_indices
from relevo.delivery.bounce import Surroundings
from relevo.directory import MailTarget, Target
from relevo.mail import Address, parse_address
from relevo.queue.store import (
    Content,
    Envelope,
    MemoryContent,
    MessageId,
    QueuedRecipient,
    TargetKind,
    Unit,
)

MESSAGE = b"From: a@b.test\r\nMessage-ID: <m1@b.test>\r\nSubject: x\r\n\r\nHello\r\n.dot\r\n"
NOW = 1_800_000_000.0


def mail(
    target: str = "ann@d1.test",
    original: str = "",
    *,
    notify: tuple[str, ...] = (),
    kind: TargetKind = TargetKind.MAIL,
) -> QueuedRecipient:
    return QueuedRecipient(kind, target, original or target, notify=notify)


def pipe(words: str, original: str = "ali@d1.test") -> QueuedRecipient:
    return QueuedRecipient(TargetKind.PIPE, words, original)


def make_unit(
    *recipients: QueuedRecipient,
    route: str = "local",
    reverse_path: str = "a@b.test",
    content: Content | None = None,
    message_id: str = "m1",
    number: int = 0,
    created: float = NOW,
    attempts: int = 0,
    is_dsn: bool = False,
    ret: str = "",
    envid: str = "",
) -> Unit:
    return Unit(
        MessageId(message_id),
        route,
        number,
        created,
        attempts,
        Envelope(reverse_path, is_dsn=is_dsn, ret=ret, envid=envid),
        recipients or (mail(),),
        MemoryContent(MESSAGE) if content is None else content,
    )


def attempt_of(unit: Unit, *, is_repeat: bool = False) -> Attempt:
    return Attempt(unit, pending_indices(unit), is_repeat)


@dataclass(frozen=True)
class Pieces:
    """Content that comes in given pieces."""

    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    def chunks(self) -> Iterator[bytes]:
        yield from self.pieces

    def first(self, octets: int) -> bytes:
        return b"".join(self.pieces)[:octets]


async def expand_to_itself(address: Address) -> tuple[Target, ...]:
    return (MailTarget(address),)


def surroundings(
    *,
    expand: Callable[[Address], Awaitable[tuple[Target, ...]]] = expand_to_itself,
    postmaster: str = "postmaster@d1.test",
) -> Surroundings:
    ids = iter(range(1, 1000))
    return Surroundings(
        hostname="mx.d1.test",
        is_local=lambda domain: domain in {"d1.test", "d2.test"},
        expand=expand,
        postmaster=lambda: parse_address(postmaster) if postmaster else None,
        new_id=lambda _now: MessageId(f"dsn{next(ids)}"),
    )
