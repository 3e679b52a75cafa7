"""Within a transaction no hook is asked about the same address twice."""

from __future__ import annotations

import asyncio

import pytest

from relevo.directory import AliasHookFailed, MailTarget, Target
from relevo.directory.asked_once import AskedOnce
from relevo.mail import Address

ASKED = Address("info", "d1.test")
TARGETS = (MailTarget(Address("user", "d1.test")),)


class Hooks:
    """Counts the questions."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.asked: list[str] = []

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        self.asked.append(f"now {address.local}")
        return None

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        self.asked.append(f"resolve {address.local}")
        if self.fails:
            raise AliasHookFailed("broken")
        return TARGETS

    async def exists(self, address: Address) -> bool | None:
        self.asked.append(f"exists {address.local}")
        if self.fails:
            raise AliasHookFailed("broken")
        return None


def test_an_answer_is_kept() -> None:
    hooks = Hooks()
    once = AskedOnce(hooks)
    assert once.resolve_now(ASKED) is None
    for _ in range(2):
        assert asyncio.run(once.resolve(ASKED)) == TARGETS
        assert asyncio.run(once.exists(ASKED)) is None
    assert once.resolve_now(ASKED) == TARGETS
    assert hooks.asked == ["now info", "resolve info", "exists info"]


def test_a_failure_is_kept() -> None:
    hooks = Hooks(fails=True)
    once = AskedOnce(hooks)
    for _ in range(2):
        with pytest.raises(AliasHookFailed):
            asyncio.run(once.resolve(ASKED))
        with pytest.raises(AliasHookFailed):
            asyncio.run(once.exists(ASKED))
    assert once.resolve_now(ASKED) is None
    assert hooks.asked == ["resolve info", "exists info"]


def test_addresses_are_told_apart() -> None:
    hooks = Hooks()
    once = AskedOnce(hooks)
    asyncio.run(once.resolve(ASKED))
    asyncio.run(once.resolve(Address("other", "d1.test")))
    assert hooks.asked == ["resolve info", "resolve other"]
