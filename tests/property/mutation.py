"""Octets that are almost right: samples, cut, doubled, with what parsers stumble over in them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

STUMBLING_BLOCKS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x7f", b"\xff", b"\xc3\x28", b"\xed\xa0\x80",
    b"\xe2\x80\xae", b"\xef\xbb\xbf", b"'", b'"', b'"""', b"\\", b"%", b"%s", b"<", b">", b"{",
    b"}", b"[", b"]", b"(", b")", b":", b";", b",", b".", b"..", b"=", b"+", b"-", b"/", b"../",
    b"@", b"!", b"|", b"#", b"*", b"$", b"&", b"~", b"0", b"-1", b"1e999", b"NaN",
    b"18446744073709551616", b"9" * 5000, b"A" * 3000, b"\\u0000", b"\\x00", b"\\777", b"xn--",
    b"::", b"true", b"null", b"[" * 2000, b"{" * 2000, b"((" * 500,
)  # fmt: skip

_Edit = tuple[int, int, bytes]
_edits = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.integers(0, 20), st.sampled_from((b"", *STUMBLING_BLOCKS))
    ),
    max_size=6,
)


def _applied(sample: bytes, edits: Sequence[_Edit], doubled: int) -> bytes:
    octets = bytearray(sample * (1 + doubled))
    for place, length, block in edits:
        start = place % (len(octets) + 1)
        octets[start : start + length] = block
    return bytes(octets)


def almost(*samples: bytes) -> st.SearchStrategy[bytes]:
    """The samples with faults, and now and then octets of any kind."""
    faulty = st.builds(_applied, st.sampled_from(samples), _edits, st.integers(0, 1))
    spliced = st.builds(
        lambda one, other, at: one[: at % (len(one) + 1)] + other[at % (len(other) + 1) :],
        st.sampled_from(samples),
        st.sampled_from(samples),
        st.integers(0, 10_000),
    )
    return st.one_of(faulty, spliced, st.binary(max_size=200))
