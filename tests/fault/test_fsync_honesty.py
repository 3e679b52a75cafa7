"""Each 250 is written after the sync of the very octets that it promises, as the kernel saw it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from fault.honesty.evidence import Evidence, Stored
from fault.honesty.messages import LARGEST, Marked, send_all, sizes
from fault.honesty.strace_log import TRACED, read_calls
from fault.mutants import ANSWER_FIRST, NO_COMMIT_SYNC, NO_SPOOL_SYNC, Mutant, mutated_sources
from fault.site import make_site
from harness import debian
from harness.processes import Reaper, children

pytestmark = [pytest.mark.needs_debian("strace"), pytest.mark.timeout(600)]

MESSAGES, SESSIONS = 200, 20
MUTANT_MESSAGES, MUTANT_LARGEST = 60, 2_000_000
SHOWN = 4200  # octets of each buffer that strace shows: a page of the database, a few lines


def trace(
    reaper: Reaper, path: Path, messages: list[Marked], *, source: Path | None = None
) -> tuple[Counter[Stored], list[str]]:
    """Send the messages to a server under strace: where they stood, what was not synced in time."""
    site = make_site(reaper, path, source=source, settings={"delivery.local": "discard"})
    log = path / "strace.log"
    strace = [debian.program("strace"), "-f", "-y", "-s", SHOWN, "-o", log, "-e", f"trace={TRACED}"]
    site.server.start(wrapper=[str(word) for word in strace])
    accepted = send_all(site.server.smtp, messages, sessions=SESSIONS)
    (server,) = children(site.server.process.pid)
    os.kill(server, signal.SIGTERM)
    assert site.server.process.wait(60) == 0
    evidence = Evidence.gather(read_calls(log), site.data)
    stored: Counter[Stored] = Counter()
    problems = []
    for message_id, message in accepted.items():
        where, found = evidence.judge(message_id, message)
        stored[where] += 1
        problems += [f"message {message.number}, {message.size} octets: {one}" for one in found]
    assert stored.total() == len(messages)
    log.unlink()
    return stored, problems


def test_every_octet_is_synced_before_its_250(
    reaper: Reaper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [Marked(number, size) for number, size in enumerate(sizes(MESSAGES))]
    stored, problems = trace(reaper, tmp_path / "site", messages)
    with capsys.disabled():
        where = ", ".join(f"{count} in {place.value}" for place, count in stored.items())
        print(f"\nfsync honesty: {MESSAGES} messages to {LARGEST} octets: {where}; {problems}")
    assert not problems, problems[:10]
    assert set(stored) == set(Stored), "not every way of storing was tried"


@pytest.mark.parametrize(
    "mutant", [ANSWER_FIRST, NO_COMMIT_SYNC, NO_SPOOL_SYNC], ids=lambda mutant: mutant.name
)
def test_dishonesty_is_found_out(reaper: Reaper, tmp_path: Path, mutant: Mutant) -> None:
    source = mutated_sources(tmp_path / "src", mutant)
    chosen = sizes(MUTANT_MESSAGES, MUTANT_LARGEST)
    messages = [Marked(number, size) for number, size in enumerate(chosen)]
    _, problems = trace(reaper, tmp_path / "site", messages, source=source)
    assert problems
