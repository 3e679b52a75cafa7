"""The comparison at the end: what the client was promised against what is in the mailboxes.

For every 250 in the ledger, with the message id that the server named in it:

- the file of that message id is in the mailbox and is, octet for octet, the message that the
  client sent under that name;
- a message that also goes elsewhere has its unit waiting in the queue;
- a message for a command has run it.

Whatever fails one of these is *lost*. What is there beyond the promises is counted and explained:

- *unpromised*: the client got no answer (and sent the message again under the same name), but the
  transmission had arrived: at most one file for each transmission without an answer;
- *run again*: a command ran twice, and the server was killed between the two runs, or half a second
  before the first, whose command outlived it (the window of at-least-once delivery; a file cannot
  double, since its name is the same).

What has no such explanation is *unexplained*, and as bad as a loss.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from fault.load.ledger import Ledger
from fault.load.messages import Kind, Message, is_whole, name_in

_ORPHAN_S = 0.5  # a command started before a kill does its work this long after it, at most
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file in a mailbox."""

    path: Path
    message_id: str
    place: str  # unit and recipient within the message


def delivered_files(mail: Path) -> Iterator[Delivered]:
    """Every file in new/ or cur/ below `mail`."""
    for folder, _, names in os.walk(mail):
        if os.path.basename(folder) in {"new", "cur"}:  # noqa: PTH119 (a million of them)
            for name in names:
                message_id, _, place = name.split(".")[1].partition("_")
                yield Delivered(Path(folder, name), message_id, place)


@dataclass(slots=True)
class Verdict:
    """What the comparison found; adds up over several runs."""

    answered: int = 0  # messages answered 250
    delivered: int = 0  # of these: in mailboxes or taken by their commands, whole
    waiting: int = 0  # units that wait in the queue for another server
    unanswered: int = 0  # transmissions that ended without an answer
    unpromised: int = 0  # files beyond the promises, explained by those
    run_again: int = 0  # runs of commands beyond the first, explained by kills
    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        self.answered += other.answered
        self.delivered += other.delivered
        self.waiting += other.waiting
        self.unanswered += other.unanswered
        self.unpromised += other.unpromised
        self.run_again += other.run_again
        self.lost += other.lost
        self.unexplained += other.unexplained

    def __str__(self) -> str:
        return (
            f"{self.answered} messages answered 250, {self.delivered} delivered, "
            f"{self.waiting} waiting for another server, {len(self.lost)} lost, "
            f"{self.unpromised} more files of {self.unanswered} transmissions without an answer, "
            f"{self.run_again} commands run again after a kill, "
            f"{len(self.unexplained)} unexplained"
        )

    def require_nothing_lost(self) -> None:
        """Fail, with the first of what was found, unless every promise was kept."""
        bad = [*self.lost, *self.unexplained]
        assert not bad, f"{self}\n" + "\n".join(bad[:_SHOWN])


@dataclass(frozen=True, slots=True)
class CommandRuns:
    """What the pipe command and the killer wrote, in one file."""

    runs: dict[str, list[float]]  # message id → times
    kills: Sequence[float]

    @classmethod
    def read(cls, path: Path) -> CommandRuns:
        runs: dict[str, list[float]] = defaultdict(list)
        kills = []
        for line in path.read_text().splitlines() if path.exists() else []:
            match line.split():
                case ["RUN", at, message_id]:
                    runs[message_id].append(float(at))
                case ["KILL", at]:
                    kills.append(float(at))
                case _:
                    raise ValueError(f"{path}: {line!r}")
        return cls(runs, kills)

    def is_explained(self, first: float, second: float) -> bool:
        return any(first - _ORPHAN_S <= kill <= second for kill in self.kills)


def compare(
    ledger: Ledger, *, mail: Path, waiting: set[str], commands: CommandRuns | None = None
) -> Verdict:
    """The verdict on one run, when everything that can be delivered was delivered.

    `waiting`: ids of messages that have a unit for another server in the queue.
    """
    verdict = Verdict(answered=len(ledger.accepted), waiting=len(waiting))
    verdict.unanswered = ledger.unanswered.total()
    commands = commands or CommandRuns({}, ())
    found = _check_files(ledger, mail, verdict)
    for message_id, name in ledger.accepted.items():
        message = Message.parse(name)
        if message.kind is Kind.BOTH and message_id not in waiting:
            verdict.lost.append(f"{message_id} {name}: its unit for another server is gone")
        elif message.kind is Kind.PIPE and message_id not in commands.runs:
            verdict.lost.append(f"{message_id} {name}: its command never ran")
        elif message.kind is not Kind.PIPE and message_id not in found:
            verdict.lost.append(f"{message_id} {name}: in no mailbox, or damaged there")
        else:
            verdict.delivered += 1
    _check_runs(commands, verdict)
    return verdict


def _check_files(ledger: Ledger, mail: Path, verdict: Verdict) -> set[str]:
    """Ids of messages that are whole in a mailbox; notes what is damaged or too much."""
    found: set[str] = set()
    places: set[tuple[str, str]] = set()
    extra: Counter[str] = Counter()
    for file in delivered_files(mail):
        content = file.path.read_bytes()
        promised = ledger.accepted.get(file.message_id)
        name = promised or name_in(content)
        try:
            message = Message.parse(name or "")
        except ValueError:
            verdict.unexplained.append(f"{file.path}: not a message of the load")
            continue
        if not is_whole(message, content):
            if promised is None:
                verdict.unexplained.append(f"{name}: {file.path} is damaged, nobody was told of it")
            continue
        if (file.message_id, file.place) in places:
            verdict.unexplained.append(f"{file.message_id} {name}: two files, one is {file.path}")
        elif promised is None:
            extra[message.name] += 1
        places.add((file.message_id, file.place))
        found.add(file.message_id)
    for name, count in extra.items():
        if count > ledger.unanswered[name]:
            verdict.unexplained.append(f"{name}: {count} files that nobody was told of")
        verdict.unpromised += count
    return found


def _check_runs(commands: CommandRuns, verdict: Verdict) -> None:
    for message_id, times in commands.runs.items():
        for first, second in pairwise(times):
            if commands.is_explained(first, second):
                verdict.run_again += 1
            else:
                verdict.unexplained.append(f"{message_id}: its command ran twice, without a kill")
