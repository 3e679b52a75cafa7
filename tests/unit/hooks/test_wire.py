"""What travels to a launcher: the environment as one block of octets."""

from __future__ import annotations

from relevo.hooks.wire import environment_block, read_environment


def test_variables_come_back_as_octets() -> None:
    variables = {"A": "b=c", "E": "", "UTF": "ä", "RAW": "\udcff"}
    assert read_environment(environment_block(variables)) == {
        b"A": b"b=c",
        b"E": b"",
        b"UTF": "ä".encode(),
        b"RAW": b"\xff",
    }


def test_no_variables() -> None:
    assert read_environment(environment_block({})) == {}


def test_zero_octets_end_no_variable_early() -> None:
    block = environment_block({"A": "x\0B=y", "C": "z"})
    assert read_environment(block) == {b"A": b"xB=y", b"C": b"z"}
    assert read_environment(environment_block({"A": "\0\0"})) == {b"A": b""}
