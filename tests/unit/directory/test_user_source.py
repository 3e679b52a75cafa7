"""Users whom another server knows: when it is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relevo.directory import Directory, Existence, ExpansionFailed, MailTarget, UnknownNow
from relevo.directory.aliases import parse_aliases
from relevo.directory.directory import DomainFiles
from relevo.directory.local_part import LocalPartRules
from relevo.directory.users import Denied
from relevo.mail import Address

DOWN = UnknownNow("Dovecot: down")


class Source:
    """Knows `ada`, or nobody when it is down; notes what it was asked."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.asked: list[str] = []
        self._is_down = is_down

    async def knows(self, address: Address) -> bool | UnknownNow:
        self.asked.append(address.plain)
        return DOWN if self._is_down else address.local == "ada"


def directory_of(source: Source, aliases: str = "") -> Directory:
    rules = LocalPartRules("+", ".")
    folder = Path("d1.test")
    entries = parse_aliases(aliases.encode(), domain="d1.test", rules=rules, path=folder)
    files = DomainFiles(folder, {"user": Denied()}, entries)
    return Directory({"d1.test": files}, rules=rules, users=source)


def ours(local: str) -> Address:
    return Address(local, "d1.test")


@pytest.mark.parametrize(
    ("local", "existence"),
    [("ada", Existence.FOUND), ("a.da+tag", Existence.FOUND), ("nobody", Existence.ABSENT)],
)
def test_existence_is_asked_with_the_cleaned_name(local: str, existence: Existence) -> None:
    source = Source()
    directory = directory_of(source)
    assert directory.exists_now(ours(local)) is None
    assert source.asked == []
    assert asyncio.run(directory.exists(ours(local))) is existence
    assert source.asked == [f"{local.replace('.', '').partition('+')[0]}@d1.test"]


@pytest.mark.parametrize("local", ["user", "alias", "anybody"])
def test_what_files_know_is_not_asked(local: str) -> None:
    source = Source(is_down=True)
    aliases = "alias: user\n" + ("*: user\n" if local == "anybody" else "")
    assert directory_of(source, aliases).exists_now(ours(local)) is Existence.FOUND
    assert source.asked == []


def test_a_foreign_domain_is_not_asked_about() -> None:
    source = Source()
    assert directory_of(source).exists_now(Address("ada", "r.test")) is Existence.ABSENT


def test_a_source_that_fails_is_never_absence() -> None:
    directory = directory_of(Source(is_down=True))
    assert asyncio.run(directory.exists(ours("ada"))) == DOWN
    assert asyncio.run(directory.is_user(ours("ada"))) == DOWN


def test_expansion_asks_only_where_the_answer_matters() -> None:
    source = Source(is_down=True)
    assert directory_of(source).expand_now(ours("ada")) == (MailTarget(ours("ada")),)
    assert source.asked == []


@pytest.mark.parametrize(("local", "target"), [("ada", "ada"), ("nobody", "user")])
def test_a_user_elsewhere_comes_before_the_catch_all(local: str, target: str) -> None:
    directory = directory_of(Source(), "*: user")
    assert directory.expand_now(ours(local)) is None
    assert asyncio.run(directory.expand(ours(local))) == (MailTarget(ours(target)),)


def test_the_catch_all_waits_for_a_source_that_fails() -> None:
    directory = directory_of(Source(is_down=True), "*: user")
    with pytest.raises(ExpansionFailed, match=r"whether ada@d1\.test is a user: Dovecot: down"):
        asyncio.run(directory.expand(ours("ada")))


@pytest.mark.parametrize(
    ("local", "existence"),
    [("user", Existence.FOUND), ("ada", Existence.FOUND), ("nobody", Existence.ABSENT)],
)
def test_final_addresses_are_users_of_either(local: str, existence: Existence) -> None:
    assert asyncio.run(directory_of(Source()).is_user(ours(local))) is existence


def test_the_postmaster_may_be_known_elsewhere_only() -> None:
    assert directory_of(Source()).postmaster() == ours("postmaster")
