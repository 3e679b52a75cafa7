"""What a connection tells those who count."""

from __future__ import annotations

import pytest

from relevo.reception import Mode
from unit.reception.conftest import Client, Place, Running
from unit.reception.names import FAIL, PASS

RECORDS = {"pass.test": PASS, "fail.test": FAIL, "soft.test": "v=spf1 ~all"}
Counted = list[tuple[str, str]]


def connected(place: Place, mode: Mode = Mode.SMTP) -> tuple[Client, Counted]:
    services = place.services()
    seen: Counted = []
    services.count = lambda family, label: seen.append((family, label))
    return place.connect(mode, services), seen


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.SUBMISSION])
def test_a_connection_is_counted_by_its_listener(
    place: Place, running: Running, mode: Mode
) -> None:
    async def run() -> None:
        _, seen = connected(place, mode)
        assert seen == [("connections", mode.value)]

    running(run())


def test_one_over_the_limit_is_counted_as_refused(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("limits", connections_per_source=1)
        _, first = connected(place)
        _, second = connected(place)
        assert (first, second) == ([("connections", "SMTP")], [("connections", "refused")])

    running(run())


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("pass.test", [("spf", "pass"), ("levels", "pass")]),
        ("soft.test", [("spf", "softfail"), ("levels", "skip")]),
        ("fail.test", [("spf", "fail")]),
    ],
)
def test_spf_and_the_level_are_counted_once_a_sender(
    place: Place, running: Running, domain: str, expected: Counted
) -> None:
    place.set("spf", check=True)
    place.names.records |= RECORDS

    async def run() -> None:
        client, seen = connected(place)
        client.say("EHLO cli\r\n")
        await client.say_and_wait(f"MAIL FROM:<a@{domain}>\r\n")
        assert seen[1:] == expected

    running(run())


def test_verbs_and_codes_reach_the_counters(place: Place, running: Running) -> None:
    async def run() -> None:
        services = place.services()
        verbs: list[bytes] = []
        codes: list[int] = []
        services.count_command, services.count_reply = verbs.append, codes.append
        client = place.connect(services=services)
        client.say("EHLO cli\r\nNOOP\r\nQUIT\r\n")
        assert verbs == [b"EHLO", b"NOOP", b"QUIT"]
        assert codes == [250, 250, 221]

    running(run())
