"""The header block: found, checked, counted and edited as octets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relevo.mail.header_block import (
    check_header,
    count_received,
    field_values,
    find_head_end,
    has_field,
    head_length,
    remove_fields,
    split_head,
)


@pytest.mark.parametrize(
    ("message", "head"),
    [
        pytest.param(b"A: b\r\n\r\nx\r\n", b"A: b\r\n", id="head and body"),
        pytest.param(b"A: b\r\n\r\n\r\nx", b"A: b\r\n", id="body that starts with a blank line"),
        pytest.param(b"A: b\r\n", b"A: b\r\n", id="head only"),
        pytest.param(b"A: b", b"A: b", id="head only, cut"),
        pytest.param(b"\r\nA: b\r\n\r\n", b"", id="starts with the blank line"),
        pytest.param(b"\r\n", b"", id="blank line only"),
        pytest.param(b"", b"", id="empty"),
        pytest.param(
            b"A: b\r\n \r\nC: d\r\n\r\n", b"A: b\r\n \r\nC: d\r\n", id="blank folded line"
        ),
    ],
)
def test_where_the_head_ends(message: bytes, head: bytes) -> None:
    assert split_head(message) == (head, message[len(head) :])
    assert head_length(message) == len(head)


def test_end_of_an_arriving_head_is_not_known_before_the_blank_line() -> None:
    assert find_head_end(b"A: b\r\n\r") is None
    assert find_head_end(b"A: b\r\n\r\n") == 6
    assert find_head_end(bytearray(b"A: b\r\n\r\nx"), 5 - 3) == 6


@pytest.mark.case("D5", "D7")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"A: b\r\n\r\nx\r\n", id="ordinary"),
        pytest.param(b"A: b\r\n", id="headers only, no blank line"),
        pytest.param(b"A: b", id="headers only, no line end"),
        pytest.param(b"\r\n", id="blank line only"),
        pytest.param(b"\r\nnocolon\r\n", id="no header fields"),
        pytest.param(b"A b: c\r\n: b\r\n\xc3\xb1: x\r\n\r\n", id="odd names"),
        pytest.param(b"A: b\r\n\tnocolon\r\n more\r\nC: d\r\n\r\n", id="folded"),
        pytest.param(b"A: b\r\n\r\nnocolon\r\n in: body\r\n", id="lines of the body do not count"),
    ],
)
def test_header_that_passes(message: bytes) -> None:
    assert check_header(message) is None


@pytest.mark.case("D4", "D6")
@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(b"", "the message is empty", id="empty"),
        pytest.param(b" A: b\r\n\r\n", 'malformed initial line: "A: b"', id="blank first"),
        pytest.param(b"\tA: b\r\n\r\n", 'malformed initial line: "A: b"', id="tab first"),
        pytest.param(b"nocolon\r\n\r\nx", 'malformed header line: "nocolon"', id="first line"),
        pytest.param(
            b"nocolon\r\nA: b\r\n\r\n", 'malformed header line: "nocolon"', id="then good"
        ),
        pytest.param(b"A: b\r\nbad\r\n\r\n", 'malformed header line: "bad"', id="last line"),
        pytest.param(b"A: b\r\nbad\r\nC: d\r\n\r\n", 'malformed header line: "bad"', id="middle"),
        pytest.param(b"A: b\r\nbad", 'malformed header line: "bad"', id="no line end"),
        pytest.param(
            b"A: b\r\n\xff\x1b\x00\r\n\r\n", 'malformed header line: "???"', id="odd octets"
        ),
    ],
)
def test_header_that_is_refused(message: bytes, text: str) -> None:
    problem = check_header(message)
    assert problem is not None
    assert problem.text == text


def test_reply_text_of_a_problem_is_short() -> None:
    problem = check_header(b"x" * 100_000 + b"\r\n\r\n")
    assert problem is not None
    assert len(problem.text) < 100


@pytest.mark.case("D8")
@pytest.mark.parametrize(
    ("head", "count"),
    [
        pytest.param(b"A: b\r\n", 0, id="none"),
        pytest.param(b"Received: x\r\n\tby y\r\n" * 51, 51, id="many, folded"),
        pytest.param(b"RECEIVED: x\r\nreceived : y\r\nReceived\t:z\r\n", 3, id="spellings"),
        pytest.param(b"Received-SPF: x\r\nX-Received: y\r\nA: Received:\r\n", 0, id="others"),
        pytest.param(b"A: b\r\n Received: x\r\n", 0, id="in a continuation"),
    ],
)
def test_received_fields_are_counted(head: bytes, count: int) -> None:
    assert count_received(head) == count


def test_values_are_unfolded_in_order() -> None:
    head = b"To: a\r\nSubject: one\r\n\ttwo \r\nto : b,\r\n c\r\nX-To: d\r\n"
    assert field_values(head, "To") == [b"a", b"b, c"]
    assert field_values(head, "subject") == [b"one\ttwo"]
    assert field_values(head, "Cc") == []
    assert has_field(head, "SUBJECT")
    assert not has_field(head, "Two")


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        pytest.param(b"A: b\r\nBcc: x\r\nC: d\r\n", b"A: b\r\nC: d\r\n", id="one line"),
        pytest.param(b"Bcc: x,\r\n\ty,\r\n z\r\nC: d\r\n", b"C: d\r\n", id="folded"),
        pytest.param(b"bcc: x\r\nBCC : y\r\n", b"", id="all of them"),
        pytest.param(b"A: b\r\nBcc: x", b"A: b\r\n", id="cut"),
        pytest.param(b"X-Bcc: x\r\nA: Bcc: y\r\n", b"X-Bcc: x\r\nA: Bcc: y\r\n", id="others stay"),
        pytest.param(b"A: b\r\n Bcc: x\r\n", b"A: b\r\n Bcc: x\r\n", id="continuation stays"),
    ],
)
def test_removing_a_field(head: bytes, rest: bytes) -> None:
    assert remove_fields(head, "Bcc") == rest


OCTETS = st.binary(max_size=80) | st.lists(
    st.sampled_from([b"Bcc", b":", b"\r\n", b"\n", b"\r", b" ", b"\t", b"A", b"Received", b"\xff"]),
    max_size=30,
).map(b"".join)
NAMES = st.sampled_from(["Bcc", "bcc", "To", "X-A", "Received"])
VALUES = st.lists(st.sampled_from([b"a", b"b c", b"\xc3\xb1", b"", b":"]), min_size=1, max_size=3)
FIELDS = st.lists(st.tuples(NAMES, VALUES.map(b"\r\n ".join)), max_size=6)


@given(OCTETS)
@example(b"\r\n")
def test_any_octets_are_taken(data: bytes) -> None:
    head, rest = split_head(data)
    assert head + rest == data
    check_header(data)
    count_received(head)
    field_values(head, "Bcc")
    assert not has_field(remove_fields(head, "Bcc"), "Bcc")
    problem = check_header(data)
    if problem:
        assert problem.text.isascii()
        assert problem.text.isprintable()


@given(FIELDS)
def test_removal_keeps_all_other_octets(fields: list[tuple[str, bytes]]) -> None:
    written = [(name, name.encode() + b": " + value + b"\r\n") for name, value in fields]
    head = b"".join(octets for _, octets in written)
    kept = b"".join(octets for name, octets in written if name.lower() != "bcc")
    assert remove_fields(head, "Bcc") == kept
    assert check_header(head + b"\r\n") is None
    assert count_received(head) == sum(name == "Received" for name, _ in fields)
    assert len(field_values(head, "To")) == sum(name == "To" for name, _ in fields)


@given(OCTETS, st.lists(st.integers(1, 9), max_size=20))
def test_head_end_is_found_however_the_message_is_cut(message: bytes, cuts: list[int]) -> None:
    arriving = bytearray()
    found, searched, position = None, 0, 0
    for size in [*cuts, len(message) + 1]:
        arriving += message[position : position + size]
        position += size
        found = find_head_end(arriving, max(0, searched - 3))
        searched = len(arriving)
        if found is not None:
            break
    assert (len(message) if found is None else found) == head_length(message)
