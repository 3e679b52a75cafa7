"""Mail that is kept for `relevo hook replay`: as it came to the hooks, with what they said.

`[replay]` says for how long, how much of it, and what is left out. Not a part of the queue: it is
written by a thread of its own, without a sync, and never waited for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.hooks.contract import Accept
from relevo.hooks.trials.records import encode_kept, kept_mail_folder
from relevo.mail.header_block import head_length
from relevo.queue.record_keeper import RecordKeeper
from relevo.queue.slices import Bounds

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.hooks.steps import Step
    from relevo.hooks.trials.seen import Seen

_ROOM = 32 * 1024 * 1024  # octets that may wait for the disk
_FILLED = bytes(
    ord("9") if chr(octet).isdigit() and octet < 128
    else ord("x") if octet >= 128 or chr(octet).isalpha()
    else octet
    for octet in range(256)
)  # fmt: skip
_BOUNDARY = re.compile(rb'boundary *= *"?([^"\r\n;]{1,70})', re.IGNORECASE)


class MailKeeper:
    """Keeps what one worker's hooks are asked about."""

    def __init__(self, config: Config, number: int, workers: int) -> None:
        replay = config.replay
        bounds = Bounds.share(
            replay.keep.total_seconds(), replay.max_size, replay.max_records, workers
        )
        self._redacts = replay.redact
        self.max_message = replay.max_message
        folder = kept_mail_folder(config.data_dir)
        least_free = min(1.0, 2 * config.queue.min_free_space)
        self._keeper = RecordKeeper(folder, number, bounds, room=_ROOM, least_free=least_free)

    def keep(self, seen: Seen, octets: bytes) -> None:
        """`octets`: the whole message, b"" where there is none."""
        redacts = self._redacts if octets else "nothing"
        if redacts != "nothing":
            octets = redacted(octets, redacts)
            steps = tuple(_without_body(step, redacts) for step in seen.steps)
            seen = replace(seen, steps=steps)
        self._keeper.put(seen.time, encode_kept(seen, octets, redacts))

    def close(self) -> None:
        """What waits is written; blocking."""
        self._keeper.close()


def redacted(message: bytes, what: str) -> bytes:
    """A message without its text, of the same size, or without its body.

    Of the text, letters and octets beyond ASCII become `x` and digits `9`; the lines stay that
    stand between the parts of a message.
    """
    end = head_length(message)
    if what == "bodies":
        return message[:end] + b"\r\n"
    body = message[end:]
    filled = bytearray(body.translate(_FILLED))
    boundary = _BOUNDARY.search(message, 0, end)
    if boundary is not None:
        for match in re.finditer(rb"^--" + re.escape(boundary[1].strip()), body, re.MULTILINE):
            filled[match.start() : match.end()] = match[0]
    return message[:end] + bytes(filled)


def _without_body(step: Step, what: str) -> Step:
    """A body that a hook gave is no less private than the one that came."""
    verdict = step.verdict
    if not isinstance(verdict, Accept) or verdict.changes.body is None:
        return step
    body = b"" if what == "bodies" else verdict.changes.body.translate(_FILLED)
    return replace(step, verdict=Accept(replace(verdict.changes, body=body)))
