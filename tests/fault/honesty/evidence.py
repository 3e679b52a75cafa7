"""Was everything on stable storage before the 250? Asked of what strace saw, message by message.

A write is *covered* when a sync of the same file began after the write had returned, succeeded and
returned before the write of the 250 to the socket began. For each message must be covered:

- the write of the database's log that has its id (its rows), and
- its octets: each line of a small message in a write of the log; or a write into a segment that
  begins the message; or all writes to its own file, together at least as many octets as the
  message has, and the folder in which the file was made.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from fault.honesty.messages import Marked
from fault.honesty.strace_log import Call

_TOKEN = re.compile(rb"TOKEN(\d{5})Z")
_LINE_TOKEN = re.compile(rb"TOKEN\d{5}Z\d{6}E")
_ACCEPTED = re.compile(rb"Accepted as (\w{20})")
_MADE = re.compile(rb'^openat\([^"]*"([^"]+)", [A-Z_|]*O_CREAT')
_LOG = "/queue.db-wal"


class Stored(Enum):
    """Where a message stood when its 250 went out."""

    DATABASE = "the database"
    SEGMENT = "a segment"
    FILE = "a file of its own"


@dataclass(slots=True)
class Evidence:
    """What strace saw, ordered by file."""

    writes: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))  # by path
    syncs: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    carriers: dict[int, list[Call]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, int] = field(default_factory=dict)  # message id → line where it began
    made: dict[str, int] = field(default_factory=dict)  # path → line where it ended

    @classmethod
    def gather(cls, calls: Iterable[Call], data: Path) -> Evidence:
        """From all calls of all processes; `data` is the data directory."""
        evidence = cls()
        below = f"{data}/"
        for call in calls:
            if call.is_to_socket:
                for found in _ACCEPTED.findall(call.text):
                    evidence.answers.setdefault(found.decode(), call.begun)
            elif call.is_good_sync:
                evidence.syncs[call.path].append(call)
            elif call.is_write and call.path.startswith(below):
                evidence.writes[call.path].append(call)
                for number in {int(found) for found in _TOKEN.findall(call.text)}:
                    evidence.carriers[number].append(call)
            elif call.name == "openat" and (made := _MADE.match(call.text)):
                evidence.made[made[1].decode()] = call.ended
        return evidence

    def is_covered(self, path: str, written: int, answered: int) -> bool:
        """Did a sync of the file stand between the end of a write and the answer?"""
        return any(
            written < sync.begun and sync.ended < answered for sync in self.syncs.get(path, ())
        )

    def judge(self, message_id: str, message: Marked) -> tuple[Stored, list[str]]:
        """Where the message stood, and what was not covered."""
        answered = self.answers[message_id]
        carriers = [call for call in self.carriers[message.number] if call.begun < answered]
        problems = []
        if not self._rows_are_covered(message_id, answered):
            problems.append("its rows were not synced")
        for path in sorted({call.path for call in carriers}):
            if path.endswith(".msg"):
                return Stored.FILE, problems + self._judge_file(path, message, answered)
            if path.endswith(".seg"):
                begin = [call for call in carriers if call.path == path]
                if not any(self.is_covered(path, call.ended, answered) for call in begin):
                    problems.append(f"{path} was not synced")
                return Stored.SEGMENT, problems
        return Stored.DATABASE, problems + self._judge_rows(carriers, message, answered)

    def _rows_are_covered(self, message_id: str, answered: int) -> bool:
        wanted = message_id.encode()
        return any(
            wanted in call.text and self.is_covered(path, call.ended, answered)
            for path, calls in self.writes.items()
            if path.endswith(_LOG)
            for call in calls
            if call.begun < answered
        )

    def _judge_file(self, path: str, message: Marked, answered: int) -> list[str]:
        problems = []
        writes = [call for call in self.writes[path] if call.begun < answered]
        if sum(call.result for call in writes) < message.size:
            problems.append(f"{path} got too few octets")
        if not self.is_covered(path, max(call.ended for call in writes), answered):
            problems.append(f"{path} was not synced")
        if not self.is_covered(str(Path(path).parent), self.made[path], answered):
            problems.append(f"the folder of {path} was not synced")
        return problems

    def _judge_rows(self, carriers: list[Call], message: Marked, answered: int) -> list[str]:
        covered = [
            call
            for call in carriers
            if call.path.endswith(_LOG) and self.is_covered(call.path, call.ended, answered)
        ]
        seen = {found for call in covered for found in _LINE_TOKEN.findall(call.text)}
        wanted = {message.line_token(line) for line in range(message.lines)}
        # where two pages meet, a token is cut in two
        if len(wanted - seen) > len(covered):
            return [f"{len(wanted - seen)} of {len(wanted)} lines were not synced"]
        return []
