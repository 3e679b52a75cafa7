"""Which addresses are a user's own."""

from __future__ import annotations

import asyncio

import pytest

from relevo.directory import AliasHookFailed, MailTarget, Target, UnknownNow, owns, owns_now
from relevo.mail import Address, parse_address
from unit.directory.conftest import MakeDirectory

JUAN = Address("juan", "d1.test")
ALIASES = (
    "team: user, juan\nsales: team\nfruta: juan@elsewhere.test\nout: juan@r.test\nrun: | prog\n"
)


@pytest.mark.parametrize(
    ("sender", "is_own"),
    [
        ("juan@d1.test", True),
        ("JUAN@D1.test", True),
        ("ju.an@d1.test", True),
        ("juan+shop@d1.test", True),
        ("team@d1.test", True),
        ("sales+x@d1.test", True),
        ("user@d1.test", False),
        ("out@d1.test", False),
        ("run@d1.test", False),
        ("nobody@d1.test", False),
        ("juan@other.test", False),
        ("juan@localhost", False),
        ("bad name@d1.test", False),
    ],
)
def test_own_are_the_name_and_aliases_that_lead_to_it(
    make_directory: MakeDirectory, sender: str, is_own: bool
) -> None:
    directory = make_directory(ALIASES)
    assert owns_now(directory, JUAN, parse_address(sender)) is is_own
    assert asyncio.run(owns(directory, JUAN, parse_address(sender))) is is_own


def test_a_user_that_forwards_its_mail_keeps_its_address(make_directory: MakeDirectory) -> None:
    fruta = Address("fruta", "d1.test")
    assert owns_now(make_directory(ALIASES), fruta, fruta) is True


def test_the_catch_all_owns_what_is_nobodys(make_directory: MakeDirectory) -> None:
    directory = make_directory("*: juan\n")
    assert owns_now(directory, JUAN, parse_address("anything@d1.test")) is True
    assert owns_now(directory, JUAN, parse_address("user@d1.test")) is False


def test_a_name_with_drop_characters_is_not_that_of_the_user_without(
    make_directory: MakeDirectory,
) -> None:
    directory = make_directory(users=("ju.an", "juan"))
    assert owns_now(directory, Address("ju.an", "d1.test"), JUAN) is False
    assert owns_now(directory, Address("ju.an", "d1.test"), parse_address("ju.an@d1.test")) is True


def test_a_user_without_domain_has_its_name_in_each_of_ours(make_directory: MakeDirectory) -> None:
    directory = make_directory()
    assert owns_now(directory, Address("juan", ""), JUAN) is True
    assert owns_now(directory, Address("juan", ""), parse_address("juan@other.test")) is False


class Hooks:
    """`hook@` leads to juan, `broken@` to nobody knows where."""

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        return None

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        if address.local == "broken":
            raise AliasHookFailed("no answer")
        return (MailTarget(JUAN),) if address.local == "hook" else ()

    async def exists(self, address: Address) -> bool | None:
        return None


def test_hooks_are_asked_and_may_not_know(make_directory: MakeDirectory) -> None:
    directory = make_directory(hooks=Hooks())
    hook, broken = parse_address("hook@d1.test"), parse_address("broken@d1.test")
    assert owns_now(directory, JUAN, hook) is None
    assert asyncio.run(owns(directory, JUAN, hook)) is True
    assert isinstance(asyncio.run(owns(directory, JUAN, broken)), UnknownNow)
