"""The users file: text to values and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.directory.problems import FileError
from relevo.directory.users import Credential, Denied, Plain, Scrypt, format_users, parse_users

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = Path("users")


def read(text: str) -> Mapping[str, Credential]:
    return parse_users(text.encode(), path=PATH)


def test_scrypt_entry_with_raw_utf_8_and_escapes_in_its_octets() -> None:
    users = read(
        'users: { key: "name" value: { scrypt: { logN: 14 r: 8 p: 1 keyLen: 32\n'
        r'salt: "ñ\x80\n" encrypted: "\"\\\351" } } }'
    )
    assert users == {"name": Scrypt(14, 8, 1, 32, b"\xc3\xb1\x80\n", b'"\\\xe9')}


@pytest.mark.case("C10")
@pytest.mark.parametrize("value", ["value: { denied: {} }", "value: {}", ""])
def test_denied_and_no_scheme_are_the_same(value: str) -> None:
    assert read(f'users: {{ key: "rx" {value} }}') == {"rx": Denied()}


def test_plain_entry() -> None:
    assert read('users { key: "t" value { plain { password: "p" } } }') == {"t": Plain(b"p")}


def test_the_last_entry_of_a_name_counts() -> None:
    users = read(
        'users: { key: "a" value: { denied: {} } } users: { key: "a" value: { plain: {} } }'
    )
    assert users == {"a": Plain(b"")}


def test_an_empty_file_has_no_users() -> None:
    assert read("# nobody yet\n") == {}


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("user: {}", "unknown field 'user'", id="unknown field"),
        pytest.param('users: { name: "x" }', "unknown field 'name'", id="unknown inner field"),
        pytest.param('users: "x"', "group in braces", id="no message"),
        pytest.param("users: { key: 5 }", "string in quotes", id="key is a number"),
        pytest.param('users: { key: "\\xff" }', "not UTF-8", id="key is not UTF-8"),
        pytest.param('users: { key: "a" key: "b" }', "given twice", id="two keys"),
        pytest.param(
            "users: { value: { denied: {} plain: {} } }", "denied and plain", id="two schemes"
        ),
        pytest.param(
            'users: { value: { scrypt: { logN: "14" } } }', "whole number", id="quoted number"
        ),
        pytest.param("users: { value: { scrypt: { r: 2147483648 } } }", "range", id="too large"),
        pytest.param("users: { value: { scrypt: { logN: -1 } } }", "range", id="negative"),
        pytest.param("users: { value: { denied: { x: 1 } } }", "unknown field 'x'", id="denied"),
        pytest.param("users: { value: [{}] }", "not a list", id="list"),
        pytest.param("users: {", "not closed", id="not closed"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(text: str, detail: str) -> None:
    with pytest.raises(FileError) as caught:
        read('users: { key: "ok" }\n' + text)
    assert str(caught.value).startswith("users:2: ")
    assert detail in str(caught.value)


octets = st.binary(max_size=40)
int32 = st.integers(-(2**31), 2**31 - 1)
credentials: st.SearchStrategy[Credential] = st.one_of(
    st.just(Denied()),
    st.builds(Plain, octets),
    st.builds(Scrypt, st.integers(0, 2**64 - 1), int32, int32, int32, octets, octets),
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), credentials))
def test_what_is_written_is_read_back(users: dict[str, Credential]) -> None:
    data = format_users(users)
    assert parse_users(data, path=PATH) == users
    assert list(parse_users(data, path=PATH)) == sorted(users)


TOKENS = ["users", ":", "{", "}", "key", "value", "scrypt", "plain", "r", '"a"', "1", "[", "]", ","]


@given(st.lists(st.sampled_from(TOKENS), max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_gives_users_or_the_error_of_the_file(text: str) -> None:
    line = 1
    try:
        parse_users(text.encode("utf-8", "surrogatepass"), path=PATH)
    except FileError as error:
        line = error.problems[-1].line
    assert line >= 1
