"""A server recorded under load; then servers started on what a power cut may have left."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fault.load.generator import Generator
from fault.load.ledger import Ledger
from fault.load.messages import REMOTE_ROUTE, Message, is_whole, name_in
from fault.powercut.disk import Disk, Mode, SyncCounts, every_sync_counts
from fault.powercut.recording import Kind, Recording
from fault.site import make_site
from fault.verdict import Verdict, compare, delivered_files
from harness import debian
from harness.processes import Reaper
from harness.server import ServerDidNotStart

SHIM = Path(__file__).with_name("shim.c")
REPLAYED = (Mode.DROP, Mode.SUBSET, Mode.TEAR)
_UNSTABLE = {"queue.db-shm", "control.sock"}  # a memory map, a socket


@dataclass(frozen=True, slots=True)
class Recorded:
    """A server's life, from an empty disk to its end."""

    recording: Recording
    names: dict[str, str]  # message id → name, for every 250 that the client saw
    mail: Path
    data: Path

    def remove(self) -> None:
        """Give back the space."""
        shutil.rmtree(self.data.parents[1])


def record(
    reaper: Reaper,
    path: Path,
    *,
    messages: int,
    source: Path | None = None,
    failing_syncs: str = "",
) -> Recorded:
    """Run a server under load with the shim loaded, which lets syncs fail as it is told."""
    path.mkdir()
    shim = path / "shim.so"
    compiler = debian.program("gcc")
    subprocess.run(
        [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", shim, SHIM], check=True
    )
    log = path / "recording"
    log.touch()
    site = make_site(reaper, path / "site", source=source)
    site.server.variables |= {
        "LD_PRELOAD": str(shim),
        "CUT_LOG": str(log),
        "CUT_ROOTS": f"{site.data}:{site.mail}",
        "CUT_FAIL": failing_syncs,
    }
    site.server.start()
    load = Generator(
        reaper,
        listeners=site.listeners,
        ledger=path / "ledger",
        run="c",
        mix="cuts",
        count=messages,
    )
    ledger = load.wait()
    site.wait_until_delivered()
    status = site.server.stop(60)
    assert status == 0, f"ended with {status}: {site.server.process.output()}"
    return Recorded(Recording(log), ledger.accepted, site.mail, site.data)


def choose_positions(
    recorded: Recorded, count: int, early: int, chooser: random.Random
) -> list[int]:
    """Where to cut: half of `count` just behind a 250, the others anywhere after the first 250.

    And `early` before it, while the server starts for the first time.
    """
    critical = behind_acceptances(recorded, (count + 1) // 2, chooser)
    (first,) = behind_acceptances(recorded, 1)
    later = chooser.sample(range(first, len(recorded.recording)), count // 2)
    return sorted({*critical, *later, *chooser.sample(range(1, first), early)})


def behind_acceptances(
    recorded: Recorded, count: int, chooser: random.Random | None = None, *, least_size: int = 0
) -> list[int]:
    """Positions just behind the 250 of messages of at least this size; the first, or any."""
    found = [
        position
        for position, one in enumerate(recorded.recording, start=1)
        if one.kind is Kind.SENT
        and any(Message.parse(recorded.names[name]).size >= least_size for name in one.accepted)
    ]
    if chooser is not None:
        found = sorted(chooser.sample(found, min(count, len(found))))
    return found[:count]


def disks(
    recording: Recording, positions: Iterable[int], counts: SyncCounts = every_sync_counts
) -> Iterator[Disk]:
    """The disk at each of the positions, which ascend. It is the same object each time."""
    disk = Disk(counts)
    records = iter(recording)
    for position in positions:
        while disk.position < position:
            disk.play(next(records))
        yield disk


@dataclass(slots=True)
class Replay:
    """What a cut did. `partial`: files in mailboxes that were not whole before the restart."""

    verdict: Verdict
    partial: list[str]


def replay(
    recorded: Recorded, disk: Disk, mode: Mode, path: Path, chooser: random.Random
) -> Replay:
    """Cut the power now, start a server on what is left and let it deliver."""
    path.mkdir()
    image = path / "image"
    disk.write_image(image, mode, chooser)
    (image / "data/queue.db-shm").unlink(missing_ok=True)
    (image / "data/listeners.json").unlink(missing_ok=True)  # the harness waits for a new one
    files = delivered_files(image / "mail")
    partial = [str(file.path) for file in files if not _is_whole_file(file.path)]
    ledger = Ledger({message_id: recorded.names[message_id] for message_id in disk.accepted})
    told = set(ledger.accepted.values())
    ledger.unanswered = Counter(name for name in recorded.names.values() if name not in told)
    with Reaper() as reaper:
        site = make_site(reaper, path / "site", image=image)
        try:
            site.server.start()
        except ServerDidNotStart as error:
            verdict = Verdict(answered=len(ledger.accepted), lost=[f"no start: {error}"])
            return Replay(verdict, partial)
        site.wait_until_delivered()
        status = site.server.stop(60)
        assert status == 0, f"ended with {status}: {site.server.process.output()}"
    waiting = site.waiting(REMOTE_ROUTE)
    verdict = compare(ledger, mail=site.mail, waiting=waiting)
    if damage := site.damage():
        verdict.unexplained.append(f"the database is damaged: {damage}")
    site.remove_disk()
    return Replay(verdict, partial)


def _is_whole_file(path: Path) -> bool:
    content = path.read_bytes()
    name = name_in(content)
    return name is not None and is_whole(Message.parse(name), content)


def differences(recorded: Recorded, path: Path) -> list[str]:
    """Where the recording, played to its end, is not what the real disk holds."""
    disk = Disk()
    for one in recorded.recording:
        disk.play(one)
    disk.write_image(path, Mode.KEEP, random.Random())
    found = []
    for root in (recorded.data, recorded.mail):
        real, played = _files(root), _files(path / root.name)
        found += [
            f"{root.name}/{name}"
            for name in sorted(real.keys() | played.keys())
            if real.get(name) != played.get(name)
        ]
    return found


def _files(root: Path) -> dict[str, bytes | None]:
    """Content by path below the root; None for a directory."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if path.name not in _UNSTABLE and not path.is_socket()
    }
