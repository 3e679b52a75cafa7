"""Which targets an address has: the whole table, the limits, and where hooks are asked."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from relevo.directory.resolution import AliasHookFailed
from relevo.directory.values import (
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)
from relevo.mail.address import Address

if TYPE_CHECKING:
    from unit.directory.conftest import MakeDirectory

PEREZ = "juana.perez: juan\njuana.perez+fruta: fruta\n"


def ours(local: str) -> Address:
    return Address(local, "d1.test")


def mail(text: str) -> MailTarget:
    local, _, domain = text.partition("@")
    return MailTarget(Address(local, domain or "d1.test"))


def case(row: str) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.case(row),)


@pytest.mark.parametrize(
    ("aliases", "asked", "targets"),
    [
        pytest.param("", "user", [mail("user")], id="user"),
        pytest.param("", "us.er", [mail("user")], id="drop"),
        pytest.param("", "USER", [mail("user")], id="case"),
        pytest.param("", "u.s.er+foo", [mail("user")], id="drop and suffix"),
        pytest.param("juana.perez: juan", "juanaperez", [mail("juan")], id="alias without dot"),
        pytest.param("juana.perez: juan", "juana.perez", [mail("juan")], id="alias with dot"),
        pytest.param(
            "juana.perez: juan",
            "ju.ana.perez+x",
            [mail("juan")],
            id="alias, dots, suffix",
            marks=case("A30"),
        ),
        pytest.param(
            PEREZ, "juanaperez+fruta", [mail("fruta")], id="suffix alias", marks=case("A31")
        ),
        pytest.param(PEREZ, "juana.perez+fruta", [mail("fruta")], id="suffix alias with dot"),
        pytest.param(
            PEREZ, "juana.perez+fru.ta", [mail("juan")], id="dot in the suffix", marks=case("A32")
        ),
        pytest.param(PEREZ, "juana.perez+fruta+x", [mail("juan")], id="two suffixes"),
        pytest.param("a: b\nb: user", "a", [mail("user")], id="chain"),
        pytest.param("a: user, x@r.test", "a", [mail("user"), mail("x@r.test")], id="two targets"),
        pytest.param("a: user+tag", "a", [mail("user")], id="target with suffix"),
        pytest.param("pp: | /bin/cmd -x y", "pp", [PipeTarget(("/bin/cmd", "-x", "y"))], id="pipe"),
        pytest.param(
            "pp: | /bin/cmd -x y", "p.p+z", [PipeTarget(("/bin/cmd", "-x", "y"))], id="pipe, suffix"
        ),
        pytest.param(
            "f: jo@r.test via m1/m2",
            "f",
            [ViaTarget(Address("jo", "r.test"), ("m1", "m2"))],
            id="via",
        ),
        pytest.param("f: jo via m1", "f", [ViaTarget(ours("jo"), ("m1",))], id="local via"),
        pytest.param("*: user", "unknown", [mail("user")], id="catch-all", marks=case("A38")),
        pytest.param(
            "*: user", "juan", [mail("juan")], id="user before catch-all", marks=case("A39")
        ),
        pytest.param(
            "*: juan",
            "us.er+x",
            [mail("user")],
            id="cleaned user before catch-all",
            marks=case("A40"),
        ),
        pytest.param(
            "*: *@r.test", "Li.lly+X", [mail("li.lly+x@r.test")], id="wildcard", marks=case("A41")
        ),
        pytest.param(
            "*: * via m1",
            "lilly",
            [ViaTarget(ours("lilly"), ("m1",))],
            id="wildcard via",
            marks=case("A42"),
        ),
        pytest.param(
            "*: user\ninfo: *@r.test", "info", [mail("info@r.test")], id="wildcard of an alias"
        ),
        pytest.param(
            "a: b, ,juan,", "a", [mail("b"), mail("juan")], id="unknown target", marks=case("A44")
        ),
        pytest.param(
            "a: x, |cmd",
            "a",
            [mail("x"), mail("|cmd")],
            id="pipe in a later item",
            marks=case("A46"),
        ),
        pytest.param(
            "A.B: user", "ab", [mail("user")], id="left side normalized", marks=case("A34")
        ),
        pytest.param("a: b\na: user", "a", [mail("user")], id="last line", marks=case("A33")),
        pytest.param(
            "multi: user, al\nal: user", "multi", [mail("user")], id="collapsed", marks=case("A51")
        ),
        pytest.param(
            "a: b, c\nb: user\nc: b, juan", "a", [mail("user"), mail("juan")], id="two ways"
        ),
    ],
)
def test_example_look_ups(
    make_directory: MakeDirectory, aliases: str, asked: str, targets: list[Target]
) -> None:
    directory = make_directory(aliases)
    assert directory.exists_now(ours(asked)) is Existence.FOUND
    assert directory.expand_now(ours(asked)) == tuple(targets)
    assert asyncio.run(directory.exists(ours(asked))) is Existence.FOUND
    assert asyncio.run(directory.expand(ours(asked))) == tuple(targets)


@pytest.mark.parametrize(
    ("aliases", "asked"),
    [
        pytest.param("", "nobody", id="nobody"),
        pytest.param("", "+foo", id="empty when cleaned", marks=case("A50")),
        pytest.param("*: user", "+foo", id="empty when cleaned, catch-all"),
        pytest.param("a: ,", "a", id="alias without targets", marks=case("A45")),
    ],
)
def test_unknown_users_are_absent(make_directory: MakeDirectory, aliases: str, asked: str) -> None:
    assert make_directory(aliases).exists_now(ours(asked)) is Existence.ABSENT


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("*", id="star", marks=case("A53")),
        pytest.param("*+x", id="star with suffix"),
        pytest.param("a b", id="blank"),
        pytest.param("us\u200der", id="ZWJ", marks=case("S28")),
        pytest.param("", id="empty"),
    ],
)
def test_names_that_nobody_can_have_are_invalid(make_directory: MakeDirectory, asked: str) -> None:
    assert make_directory("*: user").exists_now(ours(asked)) is Existence.INVALID


def test_an_unknown_address_expands_to_itself_cleaned(make_directory: MakeDirectory) -> None:
    assert make_directory().expand_now(ours("no.body+x")) == (mail("nobody"),)


def test_other_domains_expand_to_themselves_and_are_absent(make_directory: MakeDirectory) -> None:
    address = Address("An.Y+x", "r.test")
    directory = make_directory("*: user")
    assert directory.expand_now(address) == (MailTarget(address),)
    assert directory.exists_now(address) is Existence.ABSENT


@pytest.mark.case("A54")
def test_two_separators(make_directory: MakeDirectory) -> None:
    directory = make_directory("x-y: user", separators="+-")
    assert directory.expand_now(ours("x-y")) == (mail("user"),)
    assert directory.expand_now(ours("u.ser-a")) == (mail("user"),)
    assert directory.exists_now(ours("x+y")) is Existence.ABSENT
    assert directory.expand_now(ours("x+y")) == (mail("x"),)


@pytest.mark.case("A55")
def test_without_drop_characters_a_dot_counts(make_directory: MakeDirectory) -> None:
    assert make_directory(drop="").exists_now(ours("us.er")) is Existence.ABSENT


@pytest.mark.case("A52")
@pytest.mark.parametrize("asked", ["juan.perez", "juanperez", "juanp.erez+x"])
def test_a_user_named_with_a_drop_character_gets_mail(
    make_directory: MakeDirectory, asked: str
) -> None:
    directory = make_directory(users=["juan.perez"])
    assert directory.exists_now(ours(asked)) is Existence.FOUND
    assert directory.expand_now(ours(asked)) == (mail("juan.perez"),)


def test_the_user_with_the_cleaned_name_comes_before_its_namesakes(
    make_directory: MakeDirectory,
) -> None:
    directory = make_directory(users=["j.p", "jp", "jp."])
    assert directory.expand_now(ours("j.p")) == (mail("jp"),)


def chain(length: int) -> str:
    names = [f"l{number}" for number in range(1, length + 1)] + ["user"]
    return "\n".join(f"{name}: {target}" for name, target in pairwise(names))


@pytest.mark.case("A35")
def test_ten_levels_are_resolved(make_directory: MakeDirectory) -> None:
    assert make_directory(chain(9)).expand_now(ours("l1")) == (mail("user"),)


@pytest.mark.case("A36")
def test_eleven_levels_exist_but_fail(make_directory: MakeDirectory) -> None:
    directory = make_directory(chain(10))
    assert directory.exists_now(ours("l1")) is Existence.FOUND
    with pytest.raises(ExpansionFailed, match=r"more than 10 levels deep: l1@d1.test -> l2@"):
        directory.expand_now(ours("l1"))


def test_the_limit_counts_the_longest_way(make_directory: MakeDirectory) -> None:
    # The short way to l5 comes first; the long one is still one level too deep.
    directory = make_directory("a: l5, b\nb: c\nc: d\nd: e\ne: l5\n" + chain(9))
    with pytest.raises(ExpansionFailed):
        directory.expand_now(ours("a"))


@pytest.mark.parametrize(
    ("aliases", "asked"),
    [
        pytest.param("a: a", "a", id="itself", marks=case("A37")),
        pytest.param("hh: *", "hh", id="wildcard", marks=case("A43")),
        pytest.param("a: user, b\nb: c\nc: a", "a", id="circle"),
    ],
)
def test_a_loop_exists_but_fails(make_directory: MakeDirectory, aliases: str, asked: str) -> None:
    directory = make_directory(aliases)
    assert directory.exists_now(ours(asked)) is Existence.FOUND
    with pytest.raises(ExpansionFailed, match="loop"):
        directory.expand_now(ours(asked))


@pytest.mark.timeout(10)
def test_many_ways_to_the_same_addresses_cost_little(make_directory: MakeDirectory) -> None:
    # Without remembering what was expanded this would be 100**8 steps.
    aliases = "".join(
        f"l{n}: {', '.join([f'l{n + 1}+{k}' for k in range(100)])}\n" for n in range(8)
    )
    assert make_directory(aliases).expand_now(ours("l0")) == (mail("l8"),)


class Hooks:
    """Answers from a table, and what was asked."""

    def __init__(
        self, resolve: dict[str, str] | None = None, exists: dict[str, bool] | None = None
    ) -> None:
        self.asked: list[str] = []
        self._resolve = resolve or {}
        self._exists = exists

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        del address
        return None  # it always has to be asked

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        self.asked.append(f"resolve {address.plain}")
        found = self._resolve.get(address.local, "")
        if found == "broken":
            raise AliasHookFailed("exit status 1")
        return (mail(found),) if found else ()

    async def exists(self, address: Address) -> bool | None:
        self.asked.append(f"exists {address.plain}")
        return None if self._exists is None else self._exists.get(address.local, False)


def test_what_files_know_exists_without_asking_hooks(make_directory: MakeDirectory) -> None:
    hooks = Hooks()
    directory = make_directory("a: user", hooks=hooks)
    assert directory.exists_now(ours("us.er")) is Existence.FOUND
    assert directory.exists_now(ours("a")) is Existence.FOUND
    assert hooks.asked == []


def test_now_forms_give_up_where_a_hook_must_be_asked(make_directory: MakeDirectory) -> None:
    directory = make_directory(hooks=Hooks())
    assert directory.exists_now(ours("nobody")) is None
    assert directory.expand_now(ours("user")) is None


def test_existence_asks_resolve_as_given_cleaned_and_for_the_catch_all(
    make_directory: MakeDirectory,
) -> None:
    hooks = Hooks()
    directory = make_directory(hooks=hooks)
    assert asyncio.run(directory.exists(ours("no.body"))) is Existence.ABSENT
    assert hooks.asked == [
        "exists nobody@d1.test",
        "resolve no.body@d1.test",
        "resolve nobody@d1.test",
        "resolve *@d1.test",
    ]


@pytest.mark.parametrize(
    ("answer", "existence"), [(True, Existence.FOUND), (False, Existence.ABSENT)]
)
def test_an_exists_hook_decides_alone(
    make_directory: MakeDirectory, answer: bool, existence: Existence
) -> None:
    hooks = Hooks({"nobody": "user"}, {"nobody": answer})
    assert asyncio.run(make_directory(hooks=hooks).exists(ours("no.body"))) is existence
    assert hooks.asked == ["exists nobody@d1.test"]


def test_a_failing_hook_means_unknown_now(make_directory: MakeDirectory) -> None:
    directory = make_directory(hooks=Hooks({"nobody": "broken"}))
    assert asyncio.run(directory.exists(ours("nobody"))) == UnknownNow("exit status 1")
    with pytest.raises(ExpansionFailed, match=r"nobody@d1.test: exit status 1"):
        asyncio.run(directory.expand(ours("nobody")))


def test_expansion_adds_what_the_hook_says_to_the_entry_of_the_file(
    make_directory: MakeDirectory,
) -> None:
    hooks = Hooks({"a": "x@r.test"})
    directory = make_directory("a: juan", hooks=hooks)
    assert asyncio.run(directory.expand(ours("a"))) == (mail("juan"), mail("x@r.test"))
    assert hooks.asked == ["resolve a@d1.test", "resolve juan@d1.test"]
