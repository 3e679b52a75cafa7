"""What the directory answers beside aliases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relevo.directory.directory import Directory
from relevo.directory.local_part import LocalPartRules
from relevo.directory.users import Denied
from relevo.directory.values import Existence
from relevo.mail.address import Address, InvalidDomain, InvalidUser

if TYPE_CHECKING:
    from unit.directory.conftest import MakeDirectory


@pytest.mark.case("S29")
def test_localhost_is_local_and_has_nobody(make_directory: MakeDirectory) -> None:
    directory = make_directory("*: user")
    assert directory.domains == {"d1.test", "localhost"}
    assert directory.is_local("localhost")
    assert not directory.is_local("r.test")
    assert directory.exists_now(Address("user", "localhost")) is Existence.ABSENT


@pytest.mark.parametrize(
    ("local", "domain", "address"),
    [
        pytest.param("U.Ser+X", "D1.Test", Address("u.ser+x", "d1.test"), id="ours"),
        pytest.param("U.Ser", "R.Test", Address("U.Ser", "r.test"), id="foreign"),
        pytest.param("a b", "r.test", Address("a b", "r.test"), id="foreign with blank"),
        pytest.param(
            "a",
            "XN--and-6ma2c.test",
            Address("a", "ñandú.test"),
            id="A-labels in upper case",
            marks=(pytest.mark.case("S31"), pytest.mark.case("S32")),
        ),
    ],
)
def test_forward_paths_are_normalized(
    make_directory: MakeDirectory, local: str, domain: str, address: Address
) -> None:
    assert make_directory().normalize_recipient(local, domain) == address


def test_forward_paths_that_cannot_be(make_directory: MakeDirectory) -> None:
    directory = make_directory()
    with pytest.raises(InvalidUser):
        directory.normalize_recipient("us\u200der", "d1.test")
    with pytest.raises(InvalidDomain):
        directory.normalize_recipient("user", "a/b")


@pytest.mark.case("S26")
@pytest.mark.parametrize(
    ("aliases", "configured", "address"),
    [
        pytest.param("", "Boss@R.test", Address("Boss", "r.test"), id="configured, foreign"),
        pytest.param("", "User@D1.test", Address("user", "d1.test"), id="configured, ours"),
        pytest.param("", "user", Address("user", "d1.test"), id="configured without domain"),
        pytest.param("postmaster: user", "", Address("postmaster", "d1.test"), id="alias"),
        pytest.param("", "", None, id="nobody"),
    ],
)
def test_postmaster(
    make_directory: MakeDirectory, aliases: str, configured: str, address: Address | None
) -> None:
    assert make_directory(aliases, postmaster=configured).postmaster() == address


def test_a_user_named_postmaster(make_directory: MakeDirectory) -> None:
    directory = make_directory(users=["postmaster"])
    assert directory.postmaster() == Address("postmaster", "d1.test")


def test_a_directory_without_domains_has_no_postmaster() -> None:
    assert Directory({}, rules=LocalPartRules()).postmaster() is None


@pytest.mark.case("S42")
def test_credentials_are_found_by_the_name_as_it_stands(make_directory: MakeDirectory) -> None:
    directory = make_directory()
    assert directory.credential(Address("user", "d1.test")) == Denied()
    assert directory.credential(Address("us.er", "d1.test")) is None
    assert directory.credential(Address("user+x", "d1.test")) is None
    assert directory.credential(Address("user", "localhost")) is None
    assert directory.credential(Address("user", "r.test")) is None


def test_folders_of_domains(make_directory: MakeDirectory) -> None:
    directory = make_directory()
    assert directory.folder("d1.test") == Path("d1.test")
    assert directory.folder("localhost") is None
