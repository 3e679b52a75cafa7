"""Passwords against entries: the answer, and the work that it costs."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relevo.authn.passwords import make_credential, verify
from relevo.directory.users import Denied, Plain, Scrypt
from unit.authn.accounts import SECRET

if TYPE_CHECKING:
    from relevo.directory.users import Credential


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """N of every scrypt derivation."""
    done: list[int] = []
    scrypt = hashlib.scrypt

    def counted(password: bytes, *, n: int, **rest: Any) -> bytes:
        done.append(n)
        return scrypt(password, n=n, **rest)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    return done


@pytest.mark.parametrize(
    ("credential", "password", "fits"),
    [
        pytest.param(SECRET, b"secret", True, id="scrypt, right"),
        pytest.param(SECRET, b"Secret", False, id="scrypt, wrong"),
        pytest.param(SECRET, b"", False, id="scrypt, empty"),
        pytest.param(Plain(b"p\xc3\xb1"), b"p\xc3\xb1", True, id="plain, right"),
        pytest.param(Plain(b"p"), b"", False, id="plain, wrong"),
        pytest.param(Denied(), b"", False, id="denied", marks=pytest.mark.case("C10")),
        pytest.param(None, b"", False, id="no such user"),
    ],
)
def test_every_answer_costs_one_derivation(
    derivations: list[int], credential: Credential | None, password: bytes, fits: bool
) -> None:
    assert verify(credential, password, user="u") is fits
    assert derivations == [2**14]


def entry(log_n: int = 14, r: int = 8, p: int = 1, key_length: int = 32) -> Scrypt:
    return Scrypt(log_n, r, p, key_length, b"salt", b"")


@pytest.mark.case("C11")
@pytest.mark.parametrize(
    "credential",
    [
        pytest.param(entry(r=0), id="r 0"),
        pytest.param(entry(p=0), id="p 0"),
        pytest.param(entry(p=-1), id="negative"),
        pytest.param(entry(log_n=0), id="N 1"),
        pytest.param(entry(log_n=2**63), id="N enormous"),
        pytest.param(entry(log_n=18), id="256 MiB"),
        pytest.param(entry(r=2**30), id="r enormous"),
        pytest.param(entry(log_n=14, p=2**20), id="p enormous"),
        pytest.param(entry(log_n=16, r=1), id="N too large for r"),
        pytest.param(entry(key_length=0), id="no key"),
        pytest.param(entry(key_length=2**20), id="key enormous"),
    ],
)
def test_parameters_out_of_bounds_fit_no_password_and_are_logged(
    derivations: list[int], caplog: pytest.LogCaptureFixture, credential: Scrypt
) -> None:
    with caplog.at_level(logging.WARNING, "relevo.authn"):
        assert not verify(credential, b"", user="u@d1.test")
    assert "u@d1.test" in caplog.text
    assert derivations == [2**14]


def test_more_work_than_allowed_is_never_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(hashlib, "scrypt", lambda _password, **asked: begun.append(asked["p"]))
    assert not verify(entry(p=129), b"", user="u")  # N*r*p is 2**17 with p=1, 2**24 is allowed
    assert begun == [1]


def test_an_entry_with_a_cut_key_fits_no_password() -> None:
    for kept in (0, 1, 31):
        assert not verify(replace(SECRET, encrypted=SECRET.encrypted[:kept]), b"secret", user="u")


def test_the_largest_memory_allowed_is_really_there() -> None:
    derived = hashlib.scrypt(b"x", salt=b"salt", n=2**16, r=8, p=1, dklen=32, maxmem=2**28)
    assert verify(Scrypt(16, 8, 1, 32, b"salt", derived), b"x", user="u")


def test_new_entries_have_the_parameters_of_chasquid_and_a_salt_of_their_own() -> None:
    first, second = make_credential(b"secret"), make_credential(b"secret")
    assert (first.log_n, first.r, first.p, first.key_length) == (14, 8, 1, 32)
    assert len(first.salt) == 16
    assert first.salt != second.salt
    assert verify(first, b"secret", user="u")
