"""The wall clock is set while the server runs, and between two runs: mail waits as it would have.

The clock of the server alone is moved (`injected/shim.c`); tests read the queue's rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault.injected.scene import Scene
from fault.load.messages import BOTH_ALIAS, DOMAIN, REMOTE_ROUTE
from harness.processes import Reaper
from harness.waiting import wait_for
from relevo.queue import open_reader

pytestmark = [pytest.mark.needs_debian("gcc"), pytest.mark.timeout(120)]

HOUR, YEARS = 3600.0, 10 * 365 * 86400.0
LONGEST_WAIT_S = 22 * 60.0  # of the schedule
SENT = 3  # at once: a server that fails more often rests, and what comes then waits untried


@pytest.fixture
def scene(reaper: Reaper, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(reaper, tmp_path / "scene", settings={"dns.timeout": "1s"})
    made.start()
    yield made
    made.site.server.stop(30)


def send(scene: Scene) -> None:
    with scene.site.server.dialog() as client:
        client.expect(250, "EHLO client.test")
        for _ in range(SENT):
            client.expect(250, "MAIL FROM:<a@client.test>")
            client.expect(250, f"RCPT TO:<{BOTH_ALIAS}@{DOMAIN}>")
            assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250


def waits(scene: Scene) -> list[tuple[float, float, int]]:
    """Created, due and attempts of what waits for another server; leased units left out."""
    with open_reader(scene.site.data) as reader:
        return [
            (one.created, due, attempts)
            for one in reader.messages()
            for route, due, attempts, _ in one.units
            if route == REMOTE_ROUTE and due is not None
        ]


def wait_for_retries(scene: Scene, count: int, *, attempts: int = 1) -> None:
    wait_for(
        lambda: sum(one[2] >= attempts for one in waits(scene)) >= count,
        timeout_s=30,
        what=f"{count} units that wait after attempt {attempts} ({waits(scene)})",
    )


def require_sane(scene: Scene, moved: float, count: int) -> None:
    """All wait, none is older than this test, all are due soon, by the clock of the server."""
    found, now = waits(scene), time.time() + moved
    assert len(found) == count, found
    for created, due, _ in found:
        assert now - 120 <= created <= now + 5, created - now
        assert due <= now + LONGEST_WAIT_S, due - now


def set_clock(scene: Scene, moved: float, *, told: str) -> None:
    seen = len(scene.site.server.process.output())
    scene.board.set_clock(moved)
    scene.site.server.wait_for_log(f"the clock was set {told}", after=seen)


def test_a_clock_set_while_the_server_runs_changes_no_age_and_no_retry(scene: Scene) -> None:
    send(scene)
    wait_for_retries(scene, SENT)
    set_clock(scene, YEARS, told="forward by 3650 days")
    require_sane(scene, YEARS, SENT)
    send(scene)
    wait_for_retries(scene, 2 * SENT, attempts=0)
    require_sane(scene, YEARS, 2 * SENT)
    set_clock(scene, 0.0, told="back by 3650 days")
    require_sane(scene, 0.0, 2 * SENT)
    set_clock(scene, -HOUR, told="back by 1:00:00")
    send(scene)
    wait_for_retries(scene, 3 * SENT, attempts=0)
    require_sane(scene, -HOUR, 3 * SENT)
    assert not list(scene.site.mail.glob("*/client/new/*"))
    with open_reader(scene.site.data) as reader:
        assert not [one.id for one in reader.messages() if one.envelope.is_dsn]


def test_a_clock_set_between_two_runs_costs_no_message(scene: Scene) -> None:
    send(scene)
    wait_for_retries(scene, SENT)
    for attempts, moved in ((2, -HOUR), (3, YEARS), (4, -YEARS)):
        assert scene.site.server.stop(30) == 0
        scene.board.set_clock(moved)
        scene.start()
        wait_for_retries(scene, SENT, attempts=attempts)
        found, now = waits(scene), time.time() + moved
        assert len(found) == SENT, (moved, found)
        for created, due, _ in found:
            assert created <= now + 5, moved
            assert due <= now + LONGEST_WAIT_S, moved
        with open_reader(scene.site.data) as reader:
            assert not [one.id for one in reader.messages() if one.envelope.is_dsn], moved
