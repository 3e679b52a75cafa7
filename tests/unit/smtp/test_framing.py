"""Where a message ends: DATA and BDAT readers."""

from __future__ import annotations

import itertools
import time

import pytest

from relevo.smtp.buffer import InputBuffer
from relevo.smtp.framing import ChunkReader, DataReader, Status, has_only_crlf, stuff


def read_data(*reads: bytes, max_size: int = 0) -> tuple[bytes, Status, int, DataReader]:
    """What came out, how it ended, and how many octets are left."""
    buffer, reader, got = InputBuffer(), DataReader(max_size), b""
    status = Status.OPEN
    for read in reads:
        buffer.append(read)
        if status is Status.OPEN:
            data, status = reader.read(buffer)
            got += data
    return got, status, len(buffer), reader


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"x\r\n.\r\n", b"x\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"\0\xff\r\n.\r\n", b"\0\xff\r\n"),
    ],
)
def test_data_in_one_read_and_octet_by_octet(wire: bytes, body: bytes) -> None:
    behind = b"NOOP\r\n.\r\n"
    for reads in ([wire + behind], [bytes([octet]) for octet in wire] + [behind]):
        got, status, left, reader = read_data(*reads)
        assert (got, status, left) == (body, Status.COMPLETE, len(behind))
        assert reader.wire_size == len(wire)


def test_a_dot_that_only_begins_a_read_is_text() -> None:
    got, status, left, _ = read_data(b"a", b".\r\nb", b".c\r\n.\r\n")
    assert (got, status, left) == (b"a.\r\nb.c\r\n", Status.COMPLETE, 0)


@pytest.mark.parametrize("held", [b"\r", b"\r\n.", b"\r\n.\r"])
def test_at_most_two_octets_are_held_back(held: bytes) -> None:
    got, status, left, _ = read_data(b"x" + held)
    assert status is Status.OPEN
    assert left <= 2
    assert got == (b"x" + held)[: len(held) + 1 - left]


def test_an_aligned_read_is_not_copied() -> None:
    block = b"x" * 78 + b"\r\n"
    buffer, reader = InputBuffer(), DataReader(0)
    buffer.append(block)
    data, _ = reader.read(buffer)
    assert data is block


def test_octets_held_back_count_against_the_limit() -> None:
    assert read_data(b"x" * 8 + b"\r\n.\r", max_size=11)[3].is_oversize
    assert not read_data(b"x" * 8 + b"\r\n.\r", max_size=12)[3].is_oversize


@pytest.mark.parametrize(("excess", "is_oversize"), [(0, False), (1, True)])
@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.case("D9")
def test_the_end_mark_counts_against_the_limit(excess: int, step: int, is_oversize: bool) -> None:
    wire = b"x" * (95 - 2 + excess) + b"\r\n.\r\n"
    wire += b"QUIT\r\n"
    reads = [wire[index : index + step] for index in range(0, len(wire), step)]
    got, status, left, reader = read_data(*reads, max_size=98)
    assert status is Status.COMPLETE
    assert reader.wire_size == 98 + excess
    assert reader.is_oversize is is_oversize
    assert left == 6
    if not is_oversize:
        assert got == b"x" * 93 + b"\r\n"


BAD_LINES = [
    b"a\nb",
    b"a\rb",
    b"a\r\r\nb",
    b"\n.\r\n",
    b"a\r\n.\n",
    b"a\n.\n",
    b"a\r.\r\n",
    b".\rx",
]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bare_cr_or_lf_is_bad_in_data(bad: bytes) -> None:
    wire = bad + b"\r\n.\r\n"
    for reads in ([wire], [bytes([octet]) for octet in wire]):
        assert read_data(*reads)[1] is Status.BAD_LINE_END


def test_what_crossed_the_limit_before_a_bad_line_end_is_known_either_way() -> None:
    for wire, is_oversize in (
        (b"x" * 10 + b"\ny", False),
        (b"x" * 11 + b"\ny", True),
        (b"x" * 9 + b"\r\r", False),
        (b"x" * 10 + b"\r\r", True),
    ):
        for reads in ([wire], [bytes([octet]) for octet in wire]):
            _, status, _, reader = read_data(*reads, max_size=10)
            assert (status, reader.is_oversize) == (Status.BAD_LINE_END, is_oversize)


def test_stuffing() -> None:
    assert stuff(b"") == b".\r\n"
    assert stuff(b".") == b"..\r\n.\r\n"
    assert stuff(b".a\r\n.b\r\n") == b"..a\r\n..b\r\n.\r\n"


def test_only_crlf() -> None:
    assert has_only_crlf(b"a\r\n\r\nb")
    assert not has_only_crlf(b"\n\r")
    assert not has_only_crlf(b"\r\n\r")


@pytest.mark.parametrize("text", [b"a", b"a long line, as most are, of many octets"])
def test_only_crlf_is_decided_alike_by_each_way(text: bytes) -> None:
    """Short lines are counted, long ones replaced."""
    for length in range(9):
        for parts in itertools.product((b"\r", b"\n", text), repeat=length):
            data = b"".join(parts)
            left = data.replace(b"\r\n", text)
            assert has_only_crlf(data) is not (b"\r" in left or b"\n" in left), data


@pytest.mark.parametrize("lines", [0, 1, 49, 50, 51, 52, 200])
def test_only_crlf_at_the_bound_between_the_ways(lines: int) -> None:
    good = (b"\r\n" * lines).ljust(1000, b"x")
    assert has_only_crlf(good)
    for bad in (good + b"\n", good + b"\r", b"\n" + good, good.replace(b"\r\n", b"\n\r", 1)):
        assert has_only_crlf(bad) is (bad == good), bad


def read_chunks(*chunks: bytes, step: int = 1000, is_binary: bool = False) -> tuple[bytes, Status]:
    reader, got, status = ChunkReader(0, is_binary=is_binary), b"", Status.OPEN
    for number, chunk in enumerate(chunks, start=1):
        reader.begin(len(chunk), is_last=number == len(chunks))
        buffer = InputBuffer()
        for index in range(0, max(len(chunk), 1), step):
            buffer.append(chunk[index : index + step])
            data, status = reader.read(buffer)
            got += data
            if status is Status.BAD_LINE_END:
                return got, status
    return got, status


@pytest.mark.parametrize("step", [1, 2, 1000])
@pytest.mark.parametrize(
    "chunks",
    [
        [b""],
        [b"a\r\nb"],
        [b"a\r", b"\nb"],
        [b"a\r", b"", b"\nb"],
        [b".\r\n", b".\r\n", b""],
        [b"\r", b"\n"],
    ],
)
def test_chunks_are_joined_as_they_are(chunks: list[bytes], step: int) -> None:
    assert read_chunks(*chunks, step=step) == (b"".join(chunks), Status.COMPLETE)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize(
    "chunks",
    [[b"a\nb"], [b"a\rb"], [b"a\r"], [b"a\r", b"x"], [b"a\r", b""], [b"\n"], [b"a", b"\nb"]],
)
def test_a_bare_cr_or_lf_is_bad_in_chunks_but_not_in_binary_ones(
    chunks: list[bytes], step: int
) -> None:
    assert read_chunks(*chunks, step=step)[1] is Status.BAD_LINE_END
    assert read_chunks(*chunks, step=step, is_binary=True) == (b"".join(chunks), Status.COMPLETE)


def test_a_chunk_over_the_limit_is_known_before_its_octets() -> None:
    reader, buffer = ChunkReader(10, is_binary=False), InputBuffer()
    reader.begin(10, is_last=False)
    buffer.append(b"x" * 10)
    assert reader.read(buffer) == (b"x" * 10, Status.COMPLETE)
    reader.begin(1, is_last=True)
    assert reader.is_oversize
    buffer.append(b"xNOOP\r\n")
    assert reader.read(buffer) == (b"", Status.COMPLETE)
    assert len(buffer) == 6


def test_many_tiny_chunks_are_too_many() -> None:
    reader = ChunkReader(0, is_binary=False)
    verdicts = []
    for _ in range(1001):
        reader.begin(1, is_last=False)
        verdicts.append(reader.has_too_many_chunks)
    assert verdicts == [False] * 1000 + [True]


def test_a_long_body_costs_linear_time() -> None:
    def seconds(reads: int) -> float:
        block = b"x" * 70 + b"\r\n.y\r\n" + b"z" * 1000
        buffer, reader = InputBuffer(), DataReader(0)
        start = time.process_time()
        for _ in range(reads):
            buffer.append(block)
            reader.read(buffer)
        return time.process_time() - start

    seconds(100)
    assert seconds(20_000) < 60 * max(seconds(2_000), 0.002)
