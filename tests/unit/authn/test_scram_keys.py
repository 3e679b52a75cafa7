"""SCRAM keys beside the users files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.authn import scram_keys
from relevo.authn.scram_keys import (
    FILE_NAME,
    ITERATIONS,
    KeyEntry,
    ScramKeys,
    ScramKeyStore,
    format_keys,
    parse_keys,
)
from relevo.directory.users import Denied, Plain
from relevo.mail.address import Address
from unit.authn.accounts import USERS, directory_of

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.directory.directory import Directory

USER = Address("user", "d1.test")


@pytest.fixture
def store() -> ScramKeyStore:
    return ScramKeyStore(b"s" * 32)


def test_keys_are_made_once_and_found(
    store: ScramKeyStore, directory: Directory, tmp_path: Path
) -> None:
    assert store.find(directory, USER) is None
    store.remember(directory, USER, b"secret")
    keys = store.find(directory, USER)
    assert keys is not None
    assert keys.iterations == ITERATIONS
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    store.remember(directory, USER, b"secret")
    assert path.stat().st_ino == before
    assert ScramKeyStore(b"other" * 8).find(directory, USER) == keys


def test_keys_of_an_old_password_are_void_and_replaced(
    store: ScramKeyStore, directory: Directory, tmp_path: Path
) -> None:
    store.remember(directory, USER, b"secret")
    old = store.find(directory, USER)
    changed = directory_of(tmp_path, {**USERS, "user": Plain(b"new")})
    assert store.find(changed, USER) is None
    store.remember(changed, USER, b"new")
    new = store.find(changed, USER)
    assert new is not None
    assert old is not None
    assert new.stored_key != old.stored_key


@pytest.mark.parametrize("users", [{}, {"user": Denied()}], ids=["removed", "denied"])
def test_keys_of_a_user_who_may_not_log_in_are_void(
    store: ScramKeyStore, directory: Directory, tmp_path: Path, users: dict[str, Denied]
) -> None:
    store.remember(directory, USER, b"secret")
    assert store.find(directory_of(tmp_path, {**users}), USER) is None


def test_void_keys_are_dropped_when_others_are_made(
    store: ScramKeyStore, directory: Directory, tmp_path: Path
) -> None:
    store.remember(directory, USER, b"secret")
    later = directory_of(tmp_path, {"plain": USERS["plain"]})
    store.remember(later, Address("plain", "d1.test"), b"secret")
    assert set(parse_keys((tmp_path / FILE_NAME).read_bytes())) == {"plain"}


def test_a_decoy_has_the_salt_that_the_user_would_have(
    store: ScramKeyStore, directory: Directory
) -> None:
    decoy = store.decoy(USER)
    store.remember(directory, USER, b"secret")
    keys = store.find(directory, USER)
    assert keys is not None
    assert (decoy.salt, decoy.iterations) == (keys.salt, keys.iterations)
    assert store.decoy(USER).salt == decoy.salt
    assert store.decoy(Address("other", "d1.test")).salt != decoy.salt
    assert ScramKeyStore(b"t" * 32).decoy(USER).salt != decoy.salt
    assert store.decoy(USER).stored_key != decoy.stored_key


@pytest.mark.parametrize("password", [b"\xff", b"\x00control"], ids=["not UTF-8", "control"])
def test_a_password_that_saslprep_refuses_gets_no_keys(
    store: ScramKeyStore, directory: Directory, password: bytes
) -> None:
    store.remember(directory, USER, password)
    assert store.find(directory, USER) is None


def test_a_folder_that_cannot_be_written_is_logged(
    store: ScramKeyStore,
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(path: Path, data: bytes, *, mode: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scram_keys, "replace_file", refuse)
    with caplog.at_level(logging.WARNING, "relevo.authn"):
        store.remember(directory, USER, b"secret")
    assert "cannot store SCRAM keys of user@d1.test" in caplog.text


def test_users_of_other_domains_have_no_keys(store: ScramKeyStore, directory: Directory) -> None:
    stranger = Address("user", "r.test")
    store.remember(directory, stranger, b"secret")
    assert store.find(directory, stranger) is None


entries = st.builds(
    KeyEntry,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.builds(
        ScramKeys,
        st.binary(min_size=16, max_size=16),
        st.integers(4096, 100_000),
        st.binary(min_size=32, max_size=32),
        st.binary(min_size=32, max_size=32),
    ),
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), entries))
def test_what_is_written_is_read_back(keys: dict[str, KeyEntry]) -> None:
    assert parse_keys(format_keys(keys)) == keys


@given(st.binary(max_size=100) | st.text("a =1\n/+", max_size=80).map(str.encode))
def test_any_octets_are_keys_or_nothing(data: bytes) -> None:
    for entry in parse_keys(data).values():
        assert entry.keys.iterations >= 4096
