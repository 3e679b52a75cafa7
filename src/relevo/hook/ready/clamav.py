"""ClamAV's clamd looks for viruses in each message (its command INSTREAM).

A message with one is refused, or held where `found = "quarantine"`; others get X-Virus-Scanned.
"""

from __future__ import annotations

import re
from typing import Literal

from relevo.hook import (
    HeaderField,
    Message,
    PostDataContext,
    PostDataVerdict,
    Reject,
    Settings,
    settings,
)
from relevo.hook.ready.peers import PeerFailed, ask

_PIECE = 1024 * 1024
_FOUND = re.compile(r"stream: (.+) FOUND")


class ClamavSettings(Settings, frozen=True):
    """`target`: of clamd, `unix:/PATH` or `HOST:PORT`.

    `max_size`: larger messages are not shown; no more than clamd's StreamMaxLength.
    """

    target: str = "unix:/run/clamav/clamd.ctl"
    timeout: float = 25.0
    found: Literal["reject", "quarantine"] = "reject"
    max_size: int = 25 * 1024 * 1024


async def post_data(message: Message, _context: PostDataContext) -> PostDataVerdict | None:
    chosen = settings(ClamavSettings)
    if len(message.octets) > chosen.max_size:
        return None
    question = instream(message.octets)
    said = await ask(chosen.target, question, timeout_s=chosen.timeout, limit=4096)
    return verdict(chosen, said)


def instream(octets: bytes) -> bytes:
    """The command, and the message in pieces that each have their length before them."""
    parts = [b"zINSTREAM\0"]
    for start in range(0, len(octets), _PIECE):
        piece = octets[start : start + _PIECE]
        parts += [len(piece).to_bytes(4, "big"), piece]
    return b"".join([*parts, bytes(4)])


def verdict(chosen: ClamavSettings, said: bytes) -> PostDataVerdict:
    """What clamd's answer means. Raises Reject, and PeerFailed where it could not look."""
    text = said.rstrip(b"\0\n").decode("utf-8", "replace")
    scanned = PostDataVerdict(
        add_headers=[HeaderField("X-Virus-Scanned", "ClamAV")], remove_headers=["X-Virus-Scanned"]
    )
    if text == "stream: OK":
        return scanned
    found = _FOUND.fullmatch(text)
    if found is None:
        raise PeerFailed(f"clamd answers {text[:200]!r}")
    if chosen.found == "reject":
        raise Reject(f"The message has a virus ({found[1][:100]})")
    scanned.verdict, scanned.text, scanned.tags = "quarantine", f"virus {found[1]}", ["virus"]
    return scanned
