"""The aliases file: what it says, and where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.directory.aliases import (
    MAX_LINE,
    MAX_PROBLEMS,
    InvalidTargets,
    parse_aliases,
    parse_targets,
)
from relevo.directory.local_part import LocalPartRules
from relevo.directory.problems import FileError
from relevo.directory.values import MailTarget, PipeTarget, Target, ViaTarget
from relevo.mail.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = Path("domains/d1.test/aliases")


def read(data: bytes) -> Mapping[str, tuple[Target, ...]]:
    return parse_aliases(data, domain="d1.test", rules=LocalPartRules(), path=PATH)


def mail(local: str, domain: str = "d1.test") -> MailTarget:
    return MailTarget(Address(local, domain))


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        pytest.param("b", (mail("b"),), id="domain added"),
        pytest.param("b@R.test", (mail("b", "r.test"),), id="domain normalized"),
        pytest.param("X@xn--and-6ma2c.test", (mail("x", "ñandú.test"),), id="A-label"),
        pytest.param(
            "b,,juan,", (mail("b"), mail("juan")), id="empty items", marks=pytest.mark.case("A44")
        ),
        pytest.param(",", (), id="only empty items", marks=pytest.mark.case("A45")),
        pytest.param(
            "x,|cmd",
            (mail("x"), mail("|cmd")),
            id="pipe is first or none",
            marks=pytest.mark.case("A46"),
        ),
        pytest.param("| cmd  -a, b", (PipeTarget(("cmd", "-a,", "b")),), id="pipe takes the rest"),
        pytest.param("*", (mail("*"),), id="wildcard"),
        pytest.param("*@r.test", (mail("*", "r.test"),), id="wildcard elsewhere"),
        pytest.param(
            "jo@r.test via m1 / m2", (ViaTarget(Address("jo", "r.test"), ("m1", "m2")),), id="via"
        ),
        pytest.param(
            "jo via m1, x",
            (ViaTarget(Address("jo", "d1.test"), ("m1",)), mail("x")),
            id="via and address",
        ),
    ],
)
def test_right_hand_side(text: str, targets: tuple[Target, ...]) -> None:
    assert parse_targets(text, "d1.test") == targets


@pytest.mark.case("A47")
@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param("nocolon", "no ':' between the alias and its targets", id="no colon"),
        pytest.param("a:", "no target after the ':'", id="no target"),
        pytest.param(": b", "no alias before the ':'", id="no alias"),
        pytest.param("a@x: b", "'a@x' has an '@'", id="at sign on the left"),
        pytest.param("a: |", "no command after the '|'", id="no command"),
        pytest.param("a: b c", "'b c'", id="inner blank"),
        pytest.param("a: b via x//y", "empty server name", id="empty server"),
        pytest.param("a: b # c", "'b # c'", id="comment behind text"),
        pytest.param("a: x, |cmd y", "must be the only target", id="blank in a later pipe"),
        pytest.param("a: b@", "'b@'", id="no domain"),
        pytest.param("a: @d1.test", "'@d1.test'", id="no user"),
        pytest.param("a: b@-x-.test", "'b@-x-.test'", id="no domain name"),
        pytest.param("a: " + "b," * MAX_LINE, f"longer than {MAX_LINE}", id="long line"),
        pytest.param("a: \udcff", "not UTF-8", id="not UTF-8"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_line(line: str, text: str) -> None:
    data = b"# first\nok: user\n" + line.encode("utf-8", "surrogateescape") + b"\n"
    with pytest.raises(FileError) as caught:
        read(data)
    assert str(caught.value).startswith(f"{PATH}:3: ")
    assert text in str(caught.value)


def test_all_wrong_lines_are_named_up_to_a_limit() -> None:
    with pytest.raises(FileError) as caught:
        read(b"a b\nok: user\nc:\n")
    assert [problem.line for problem in caught.value.problems] == [1, 3]
    with pytest.raises(FileError) as caught:
        read(b"wrong\n" * 1000)
    assert len(caught.value.problems) == MAX_PROBLEMS


@pytest.mark.case("A49")
def test_comments_blank_lines_and_crlf() -> None:
    assert read(b"  # a: b\r\n\r\n\ta : user \r\n#x\n") == {"a": (mail("user"),)}


@pytest.mark.case("A33")
def test_the_last_line_of_a_name_counts() -> None:
    assert read(b"a.b: user\nab: juan\n") == {"ab": (mail("juan"),)}


@pytest.mark.case("A34")
def test_a_name_is_case_mapped_and_loses_drop_characters_before_its_suffix() -> None:
    assert set(read(b"A.B: x\nj.p+fr.ut: y\n")) == {"ab", "jp+fr.ut"}


def test_a_name_that_no_address_can_have_is_kept_and_harmless() -> None:
    assert set(read(b"a b: user\n")) == {"a b"}


@given(st.binary(max_size=200))
def test_any_octets_give_entries_or_the_error_of_the_file(data: bytes) -> None:
    line = 1
    try:
        read(data)
    except FileError as error:
        line = error.problems[-1].line
    assert 1 <= line <= data.count(b"\n") + 1


@given(st.lists(st.text(max_size=30), max_size=5).map("\n".join))
def test_any_text_gives_entries_or_the_error_of_the_file(text: str) -> None:
    try:
        entries = read(("a: " + text).encode("utf-8", "surrogatepass"))
    except FileError:
        return
    assert all(isinstance(targets, tuple) for targets in entries.values())


@given(st.text("ab@|*,./+ via\t\"'\n", max_size=30))
def test_output_of_a_hook_is_targets_or_an_error(text: str) -> None:
    try:
        targets = parse_targets(text, "d1.test")
    except InvalidTargets:
        return
    for target in targets:
        match target:
            case PipeTarget(words):
                assert words
            case MailTarget(address) | ViaTarget(address):
                assert address.local
                assert address.domain
                assert address.local.isprintable()
