"""Records: what is packed is found, what is damaged is not."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.queue.records import (
    FOOTER_SIZE,
    HEADER_SIZE,
    Footer,
    Header,
    RecordDamaged,
    decode_metadata,
    metadata_of,
    scan_segment,
)
from unit.queue.samples import message


def record(segment: int, identity: str, content: bytes) -> bytes:
    metadata = metadata_of(message(content, identity=identity))
    header = Header(segment, len(metadata), len(content), crc32(metadata), crc32(content))
    return header.pack() + metadata + content


def test_metadata_holds_all_but_the_content() -> None:
    new = message(routes=("a", "b"))
    data = metadata_of(new)
    found = decode_metadata(data, crc32(data))
    assert (found.id, found.created, found.envelope) == (new.id, new.created, new.envelope)
    assert [(unit.route, unit.due, unit.recipients) for unit in found.units] == [
        (unit.route, unit.due, unit.recipients) for unit in new.units
    ]
    with pytest.raises(RecordDamaged):
        decode_metadata(data, crc32(data) ^ 1)


@pytest.mark.parametrize("position", range(HEADER_SIZE))
def test_any_changed_octet_of_a_header_is_noticed(position: int) -> None:
    data = bytearray(Header(1 << 40, 2, 3, 4, 5).pack())
    assert Header.unpack(bytes(data)) == Header(1 << 40, 2, 3, 4, 5)
    data[position] ^= 0x10
    with pytest.raises(RecordDamaged):
        Header.unpack(bytes(data))


@pytest.mark.parametrize("position", range(FOOTER_SIZE))
def test_any_changed_octet_of_a_footer_is_noticed(position: int) -> None:
    footer = Footer(1 << 40, 1 << 33, 3, 4, 5, 6, 7)
    data = bytearray(footer.pack())
    assert Footer.unpack(bytes(data)) == footer
    data[position] ^= 0x10
    with pytest.raises(RecordDamaged):
        Footer.unpack(bytes(data))


@given(st.binary(max_size=200))
def test_any_octets_are_a_record_or_damaged(data: bytes) -> None:
    for kind in (Header, Footer):
        with pytest.raises(RecordDamaged):
            kind.unpack(data)
    assert list(scan_segment(data, 1)) == []


def test_scan_ends_at_the_zeros_of_a_fresh_segment() -> None:
    data = record(7, "0a", b"one") + record(7, "0b", b"") + bytes(500)
    assert [(found.id, content) for _, found, content in scan_segment(data, 7)] == [
        ("0a", b"one"),
        ("0b", b""),
    ]


def test_scan_ends_at_records_of_an_earlier_use() -> None:
    new, old = record(8, "0new", b"new"), record(7, "0old", b"old")
    assert [found.id for _, found, _ in scan_segment(new + old, 8)] == ["0new"]
    assert list(scan_segment(old, 8)) == []


def test_scan_ends_at_a_record_with_damaged_content() -> None:
    good, bad = record(7, "0a", b"good"), bytearray(record(7, "0b", b"bad!"))
    bad[-1] ^= 1
    assert [found.id for _, found, _ in scan_segment(good + bytes(bad), 7)] == ["0a"]
    assert [found.id for _, found, _ in scan_segment(good + bytes(bad[:-1]), 7)] == ["0a"]
