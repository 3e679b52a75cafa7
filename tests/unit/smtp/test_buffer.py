"""The input buffer: what goes in comes out, and aligned reads are not copied."""

from __future__ import annotations

import time

from relevo.smtp.buffer import InputBuffer


def test_an_aligned_read_is_handed_out_uncopied() -> None:
    buffer, read = InputBuffer(), b"x" * 1000
    buffer.append(read)
    assert buffer.take(1000) is read


def test_octets_keep_their_order_over_any_pieces() -> None:
    buffer, taken = InputBuffer(), b""
    stream = bytes(range(256)) * 4
    position = 0
    for number in range(60):
        size = (number * 7) % 40
        buffer.append(stream[position : position + size])
        position += size
        taken += buffer.take((number * 5) % 23)
    taken += buffer.take(len(buffer))
    assert taken == stream[:position]
    assert len(buffer) == 0


def test_lines_are_found_in_pieces() -> None:
    buffer = InputBuffer()
    buffer.append(b"ab")
    assert buffer.take_line() is None
    buffer.append(b"c\nd")
    assert buffer.take_line() == b"abc\n"
    assert buffer.take_line() is None
    buffer.append(b"\n\n")
    assert buffer.take_line() == b"d\n"
    assert buffer.take_line() == b"\n"
    assert len(buffer) == 0


def test_skipping_and_clearing() -> None:
    buffer = InputBuffer()
    buffer.append(b"abcd")
    buffer.skip(1)
    assert (len(buffer), buffer.take(2)) == (3, b"bc")
    buffer.clear()
    assert (len(buffer), buffer.take(9)) == (0, b"")


def test_a_slow_sender_costs_linear_time() -> None:
    def seconds(count: int) -> float:
        buffer = InputBuffer()
        buffer.append(b"y" * 10)
        start = time.process_time()
        for _ in range(count):
            buffer.append(b"x")
            buffer.take_line()
        return time.process_time() - start

    seconds(1000)
    assert seconds(200_000) < 60 * max(seconds(20_000), 0.002)
