"""Queue items of chasquid as messages of relevo."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.journal import Accepted, DsnSent, OperatorAction
from relevo.queue.loading import SavedMessage
from relevo.queue.store import MemoryContent, RecipientState, TargetKind
from relevo.service.takeover.conversion import Converted, Site, convert
from relevo.service.takeover.formats import Unreadable, read_item
from unit.service.takeover.leftovers import CREATED, DATA, NOW, item_text, recipient, write_item


def converted(
    left: Path, site: Site, *recipients: str, sender: str = "a@pass.test", data: bytes = DATA
) -> Converted:
    text = item_text(*recipients, sender=sender, data=data)
    return convert(read_item(write_item(left, text)), site, now=NOW)


def octets(message: SavedMessage) -> bytes:
    assert isinstance(message.content, MemoryContent)
    return message.content.data


def test_waiting_recipients_become_units_by_route_due_now(left: Path, site: Site) -> None:
    found = converted(
        left,
        site,
        recipient("x@r.test", 'last_failure_message: "no such host"'),
        recipient("y@R.test"),
        recipient("user@d1.test"),
        recipient("cat -n", "type: PIPE"),
        recipient("z@r.test", "type: FORWARD", 'via: "s1.test"', 'via: "s2.test"'),
        recipient("done@r.test", "status: SENT"),
    )
    (message,) = found.messages
    assert found.waiting == 5
    assert {unit.route: [one.target for one in unit.recipients] for unit in message.units} == {
        "mx:r.test": ["x@r.test", "y@r.test"],
        "local": ["user@d1.test"],
        "pipe": ["cat -n"],
        "via:s1.test,s2.test": ["z@r.test"],
    }
    assert {unit.due for unit in message.units} == {NOW}
    first = message.units[0].recipients[0]
    assert (first.kind, first.original) == (TargetKind.MAIL, "multi@d1.test")
    assert (first.state, first.detail) == (RecipientState.PENDING, "no such host")
    via = message.units[-1].recipients[0]
    assert (via.kind, via.servers) == (TargetKind.VIA, ("s1.test", "s2.test"))


def test_age_and_sender_stay_and_the_history_says_where_it_came_from(
    left: Path, site: Site
) -> None:
    (message,) = converted(left, site).messages
    assert message.created == CREATED + 0.5
    assert message.envelope.reverse_path == "a@pass.test"
    accepted, taken = message.events
    assert isinstance(accepted, Accepted)
    assert accepted.forward_paths == ("multi@d1.test",)
    assert isinstance(taken, OperatorAction)
    assert "LmQMNLdX89Q" in taken.action


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b"A: b\n\nx\n", b"A: b\r\n\r\nx\r\n"),
        (b"A: b\r\n\r\nx\r\n", b"A: b\r\n\r\nx\r\n"),
        (b"R: s\nA: b\r\n\r\nx\r\n", b"R: s\r\nA: b\r\n\r\nx\r\n"),
        (b"A: b\n\nx\ry\n", b"A: b\r\n\r\nx\r\ny\r\n"),
    ],
    ids=["lf", "crlf", "mixed", "cr"],
)
def test_lines_are_stored_with_crlf(left: Path, site: Site, data: bytes, stored: bytes) -> None:
    (message,) = converted(left, site, data=data).messages
    assert octets(message) == stored
    assert message.size == len(stored)


def test_the_null_reverse_path_is_null(left: Path, site: Site) -> None:
    (message,) = converted(left, site, sender="<>").messages
    assert message.envelope.reverse_path == ""


@pytest.mark.parametrize(
    ("data", "target", "body", "smtputf8"),
    [
        (b"A: b\n\nx\n", "x@r.test", "", False),
        (b"A: b\n\nx \xe9\n", "x@r.test", "8BITMIME", False),
        ("A: é\n\nx\n".encode(), "x@r.test", "8BITMIME", True),
        (b"A: b\n\nx\n", "ñ@r.test", "", True),
    ],
    ids=["ascii", "8bit body", "utf8 header", "utf8 address"],
)
def test_what_the_message_needs_of_a_next_hop_is_seen(
    left: Path, site: Site, data: bytes, target: str, body: str, smtputf8: bool
) -> None:
    (message,) = converted(left, site, recipient(target), data=data).messages
    assert (message.envelope.body, message.envelope.smtputf8) == (body, smtputf8)


def test_the_same_item_is_the_same_message(left: Path, site: Site) -> None:
    failed = recipient("y@r.test", "status: FAILED")
    first = converted(left, site, recipient(), failed)
    second = converted(left, site, recipient(), failed)
    assert [one.id for one in first.messages] == [one.id for one in second.messages]
    assert len({one.id for one in first.messages}) == 2


def test_a_sender_is_told_of_what_failed_since_chasquid_did_not_yet(left: Path, site: Site) -> None:
    failed = recipient("y@r.test", "status: FAILED", 'last_failure_message: "550 unknown"')
    found = converted(left, site, recipient(), failed, sender="boss@d1.test")
    message, dsn = found.messages
    assert found.waiting == 1
    assert [one.target for unit in message.units for one in unit.recipients] == ["x@r.test"]
    assert dsn.envelope.is_dsn
    assert dsn.envelope.reverse_path == ""
    text = octets(dsn)
    assert b"550 unknown" in text
    assert b"y@r.test" not in text or b"multi@d1.test" in text
    assert {unit.route for unit in dsn.units} == {"local", "mx:r.test"}  # the aliases of boss
    assert any(isinstance(event, DsnSent) for event in dsn.events)


def test_of_an_item_that_only_failed_the_dsn_is_all(left: Path, site: Site) -> None:
    found = converted(left, site, recipient("y@r.test", "status: FAILED"))
    assert (found.waiting, [one.envelope.is_dsn for one in found.messages]) == (0, [True])


@pytest.mark.parametrize(
    "recipients",
    [(recipient("x@r.test", "status: SENT"),), (recipient("y@r.test", "status: FAILED"),)],
    ids=["delivered", "failed"],
)
def test_nothing_comes_of_what_nobody_waits_for(
    left: Path, site: Site, recipients: tuple[str, ...]
) -> None:
    found = converted(left, site, *recipients, sender="<>")
    assert found == Converted(0, ())


@pytest.mark.parametrize("address", ["", "x@-bad-", "@r.test"])
def test_an_address_that_is_none_makes_the_item_unreadable(
    left: Path, site: Site, address: str
) -> None:
    with pytest.raises(Unreadable, match="LmQMNLdX89Q"):
        converted(left, site, recipient(address))
