"""An explanation says what the resolution did, and never anything else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relevo.config import load
from relevo.directory import (
    AliasHookFailed,
    Directory,
    DirectoryWatcher,
    Existence,
    MailTarget,
    Target,
    UnknownNow,
)
from relevo.directory.explanation import Branch
from relevo.mail import Address

ALIASES = """\
in.fo: user, list
list: x@r.test, y@r.test
pipe: | cmd a
loop: loop
via: v@r.test via m1/m2
"""
USERS = 'users: { key: "user" value: { plain: { password: "secret" } } }\n'


class Hooks:
    """Knows `hooked`, and fails for `broken`."""

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        del address
        return None

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        if address.local == "broken":
            raise AliasHookFailed("it broke")
        if address.local == "hooked":
            return (MailTarget(Address("user", "d1.test")),)
        return ()

    async def exists(self, address: Address) -> bool | None:
        del address
        return None


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    folder = tmp_path / "domains" / "d1.test"
    folder.mkdir(parents=True)
    (folder / "aliases").write_text(ALIASES)
    (folder / "users").write_text(USERS)
    (tmp_path / "relevo.toml").write_text('hostname = "mx.test"\n')
    return DirectoryWatcher(load(tmp_path), hooks=Hooks()).current


def finals(branch: Branch) -> list[Target]:
    if branch.below:
        return [target for below in branch.below for target in finals(below)]
    return [branch.target]


@pytest.mark.parametrize("local", ["user", "us.er+x", "info", "in.fo+tag", "via", "pipe", "hooked"])
def test_the_tree_ends_in_the_final_targets(directory: Directory, local: str) -> None:
    address = Address(local, "d1.test")
    explanation = asyncio.run(directory.explain(address))
    assert explanation.existence is Existence.FOUND
    expected = asyncio.run(directory.expand(address))
    assert list(dict.fromkeys(finals(explanation.tree))) == list(expected)


def test_looks_name_who_was_asked_and_the_answer(directory: Directory) -> None:
    explanation = asyncio.run(directory.explain(Address("in.fo+x", "d1.test")))
    assert explanation.notes == ("without drop characters: info+x", "without suffix: info")
    looks = [(look.asked, look.answer) for look in explanation.tree.looks]
    assert looks == [
        ("aliases of d1.test: info+x", "-"),
        ("alias-resolve: in.fo+x@d1.test", "-"),
        ("aliases of d1.test: info", "user@d1.test, list@d1.test"),
        ("alias-resolve: info@d1.test", "-"),
    ]
    times = [look.seconds for look in explanation.tree.looks]
    assert [time is None for time in times] == [True, False, True, False]


def test_unknown_and_broken_are_told_apart(directory: Directory) -> None:
    nobody = asyncio.run(directory.explain(Address("nobody", "d1.test")))
    assert nobody.existence is Existence.ABSENT
    broken = asyncio.run(directory.explain(Address("broken", "d1.test")))
    assert broken.existence == UnknownNow("it broke")
    assert broken.tree.problem == "it broke"


def test_a_loop_is_a_problem_of_its_branch(directory: Directory) -> None:
    explanation = asyncio.run(directory.explain(Address("loop", "d1.test")))
    (below,) = explanation.tree.below
    assert below.problem.startswith("a loop")
