"""Files of chasquid's data directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.service.takeover.formats import (
    ItemRecipient,
    Level,
    RecipientType,
    Status,
    Unreadable,
    read_item,
    read_levels,
)
from unit.service.takeover.leftovers import CREATED, DATA, item_text, recipient, write_item

# as chasquid writes it
ORIGINAL = r"""ID: "LmQMNLdX89Q"
from: "<>"
To: "multi@d1.test"
To: "pp@d1.test"
rcpt: {
  address: "x@r.test"
  last_failure_message: "lookup r.test: no such host"
  original_address: "multi@d1.test"
}
rcpt:  {
  address:  "y@r.test"
  type:  FORWARD
  status:  SENT
  original_address:  "multi@d1.test"
  via:  "s1.test"
  via:  "s2.test"
}
rcpt: {
  address: "false"
  type: PIPE
  status: FAILED
  last_failure_message: "exit status 1"
  original_address: "pp@d1.test"
}
data: "A: b\n\nx \xe9 \"q\"\n"
created_at_ts: {
  seconds: 1795557384
  nanos: 500000000
}
"""


def test_an_item_is_read_with_all_its_fields(tmp_path: Path) -> None:
    item = read_item(write_item(tmp_path, ORIGINAL))
    assert (item.id, item.reverse_path) == ("LmQMNLdX89Q", "<>")
    assert item.forward_paths == ["multi@d1.test", "pp@d1.test"]
    assert item.data == b'A: b\n\nx \xe9 "q"\n'
    assert item.created == 1795557384.5
    assert item.recipients == [
        ItemRecipient(
            "x@r.test",
            last_failure_message="lookup r.test: no such host",
            original_address="multi@d1.test",
        ),
        ItemRecipient(
            "y@r.test", RecipientType.FORWARD, Status.SENT, "", "multi@d1.test",
            ["s1.test", "s2.test"],
        ),
        ItemRecipient(
            "false", RecipientType.PIPE, Status.FAILED, "exit status 1", "pp@d1.test"
        ),
    ]  # fmt: skip


def test_enums_may_be_numbers(tmp_path: Path) -> None:
    text = item_text(recipient("c", "type: 1", "status: 2"))
    (found,) = read_item(write_item(tmp_path, text)).recipients
    assert (found.type, found.status) == (RecipientType.PIPE, Status.FAILED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no ID"),
        (item_text().replace("ID:", "id:"), "no field id"),
        (item_text(recipient("c", "type: FAX")), "EMAIL, PIPE, FORWARD"),
        (item_text(recipient("c", "status: 7")), "PENDING, SENT, FAILED"),
        (item_text(recipient("c", "priority: 1")), "no field priority"),
        (item_text() + "\nfrom: 5", "a string is missing"),
        (item_text() + '\nrcpt: "x"', "braces"),
        (item_text().partition("created_at_ts")[0], "no creation time"),
        (item_text()[:-20], "not closed"),
        ("\0\xff", "m:LmQMNLdX89Q"),
    ],
    ids=["empty", "case", "type", "status", "field", "number", "message", "time", "cut", "binary"],
)
def test_what_is_no_item_is_unreadable(tmp_path: Path, text: str, reason: str) -> None:
    path = write_item(tmp_path, text)
    with pytest.raises(Unreadable, match=reason):
        read_item(path)


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        read_item(tmp_path / "m:x")


@given(st.binary(max_size=200))
def test_any_octets_are_an_item_or_unreadable(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        read_item(path)


def test_levels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s:r.test"
    path.write_text('name: "r.test"\nincoming_sec_level: TLS_CLIENT\noutgoing_sec_level: 3\n')
    found = read_levels(path)
    assert (found.name, found.incoming, found.outgoing) == (
        "r.test", Level.TLS_CLIENT, Level.TLS_SECURE,
    )  # fmt: skip


def test_levels_that_are_left_out_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "s:r.test"
    path.write_text('name: "r.test"')
    assert (read_levels(path).incoming, read_levels(path).outgoing) == (Level.PLAIN, Level.PLAIN)


def test_an_unknown_level_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "s:r.test"
    path.write_text('name: "r.test" incoming_sec_level: TLS_QUANTUM')
    with pytest.raises(Unreadable, match="TLS_SECURE"):
        read_levels(path)


def test_the_sample_is_an_item(tmp_path: Path) -> None:
    item = read_item(write_item(tmp_path, item_text()))
    assert (item.data, item.created) == (DATA, CREATED + 0.5)
