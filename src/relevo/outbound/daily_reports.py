"""What reports on DMARC (RFC 9990) and on TLS (RFC 8460) share: files of counts, and their mail.

Every worker writes what it counted on a day, which is one of UTC, to a file of its own in the data
directory; one worker puts the files of a day that is over together and tells those who ask for it.
A day's counts go when all were told, so that a crash in between may repeat a report (its id stays
the same) and loses none.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from relevo.journal import Accepted
from relevo.mailauth.dkim.signing import sign_message
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    TargetKind,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from relevo.config import Config
    from relevo.mailauth.dkim.private_key import SigningKey
    from relevo.queue.store import MessageId, Store

_log = logging.getLogger(__name__)

DAY_S: Final = 86_400
MAX_DELAY_S: Final = 4 * 3600  # reports of all servers of the world must not come at midnight
_AT_ONCE: Final = 8

DayT = TypeVar("DayT")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: our name and domain, and whom to ask."""

    organization: str
    domain: str
    contact: str

    @classmethod
    def with_contact(cls, contact: str, config: Config) -> Reporter:
        """As the configuration has it; with an empty contact the postmaster is to be asked."""
        contact = contact or config.postmaster or f"postmaster@{config.hostname}"
        domain = contact.rpartition("@")[2]
        return cls(domain, domain, contact)


def is_time(now: float, seed: str, most_s: float = MAX_DELAY_S) -> bool:
    """Whether reports on yesterday may go: after the same delay all day long, and another one for
    each `seed`, of at most `most_s`.
    """
    delay = random.Random(f"{seed}{int(now // DAY_S)}").uniform(0, most_s)
    return now % DAY_S >= delay


def letter(
    fields: Iterable[str],
    about: Iterable[str],
    packed: bytes,
    *,
    multipart: str,
    boundary: str,
    content_type: str,
    name: str,
) -> bytes:
    """The message that carries a report: some lines for people, and a file. CRLF lines, ASCII."""
    lines = [
        *fields,
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f"Content-Type: {multipart};",
        f'\tboundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *about,
        "",
        f"--{boundary}",
        f"Content-Type: {content_type}",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f'\tfilename="{name}"',
        "",
        *base64.encodebytes(packed).decode().splitlines(),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


class DayFiles(Generic[DayT]):
    """The days of all workers. Blocks."""

    def __init__(
        self,
        folder: Path,
        writer: str,
        *,
        subject: str,
        empty: Callable[[], DayT],
        plain: Callable[[DayT], Any],
        merge: Callable[[DayT, Any], None],
    ) -> None:
        """`writer` names this process among them, `subject` the reports in the log.

        `plain` gives a day as JSON has it, `merge` adds such a one to a day; it may raise
        ValueError, KeyError and TypeError.
        """
        self._folder = folder
        self._writer = f"{writer or 'x'}-{secrets.token_hex(4)}"
        self._subject = subject
        self._empty, self._plain, self._merge = empty, plain, merge

    def save(self, days: dict[int, DayT]) -> None:
        """Write whole days; what this process wrote of them before is replaced."""
        for number, day in days.items():
            path = self._folder / f"{number}.{self._writer}.json"
            temporary = path.with_suffix(".new")
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                temporary.write_text(json.dumps(self._plain(day)))
                temporary.replace(path)
            except OSError as error:
                _log.warning("counts for %s reports cannot be kept: %s", self._subject, error)

    def days(self) -> list[int]:
        """Numbers of the days of which there are files."""
        try:
            names = [path.name.partition(".")[0] for path in self._folder.glob("*.json")]
        except OSError:
            return []
        return sorted({int(name) for name in names if name.isdecimal()})

    def load(self, number: int) -> DayT:
        """What all processes counted on a day; files that cannot be read are left out."""
        whole = self._empty()
        for path in sorted(self._folder.glob(f"{number}.*.json")):
            try:
                self._merge(whole, json.loads(path.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("%s cannot be read: %s", path, error)
        return whole

    def forget(self, number: int) -> None:
        """Remove the files of a day."""
        for path in self._folder.glob(f"{number}.*"):
            path.unlink(missing_ok=True)


async def tell_of_past_days(
    files: DayFiles[DayT],
    now: float,
    *,
    domains: Callable[[DayT], Iterable[str]],
    tell: Callable[[int, DayT, str], Awaitable[int]],
) -> int:
    """Tell each domain of all days before today, a few at once; how many reports were sent."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(number: int, day: DayT, domain: str) -> int:
        async with slots:
            return await tell(number, day, domain)

    sent = 0
    for number in await asyncio.to_thread(files.days):
        if number >= int(now // DAY_S):
            continue
        day = await asyncio.to_thread(files.load, number)
        told = await asyncio.gather(
            *(in_turn(number, day, domain) for domain in sorted(set(domains(day))))
        )
        sent += sum(told)
        await asyncio.to_thread(files.forget, number)
    return sent


async def queue_report(
    text: bytes,
    address: str,
    *,
    route: str,
    keys: Sequence[SigningKey],
    store: Store,
    message_id: MessageId,
    now: float,
) -> None:
    """A report as a message through the queue, signed, from the null reverse-path.

    Raises StoreFailed.
    """
    if keys:
        text = await asyncio.to_thread(sign_message, text, keys, now=now) + text
    content = MemoryContent(text)
    told = Accepted(
        time=now,
        message_id=message_id,
        client="",
        reverse_path="<>",
        forward_paths=(address,),
        size=content.size,
    )
    recipient = QueuedRecipient(TargetKind.MAIL, address, address)
    units = (NewUnit(route, (recipient,), now),)
    # not is_dsn: a report that fails is told to nobody, since its reverse-path is null
    message = NewMessage(message_id, now, Envelope(""), content, units, (told,))
    await store.add(message, lease=False)
