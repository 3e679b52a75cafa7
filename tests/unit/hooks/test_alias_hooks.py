"""Alias hooks over real programs: what is asked, read, kept, and what a failure is."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from relevo.directory import AliasHookFailed, MailTarget, PipeTarget, ViaTarget
from relevo.hooks.alias_hooks import ProgramAliasHooks
from relevo.hooks.caller import Caller
from relevo.mail import Address
from unit.hooks.conftest import MakeSite, Site

INFO = Address("info", "d1.test")
KEPT = timedelta(minutes=1)
NOT_KEPT = timedelta(0)


def hooks_of(site: Site) -> ProgramAliasHooks:
    return ProgramAliasHooks(Caller(site.config, site.sockets))


def mail(text: str) -> MailTarget:
    local, _, domain = text.partition("@")
    return MailTarget(Address(local, domain))


async def test_without_hooks_nobody_is_asked(site: Site) -> None:
    hooks = hooks_of(site)
    assert await hooks.resolve(INFO) == ()
    assert hooks.resolve_now(INFO) == ()
    assert await hooks.exists(INFO) is None


@pytest.mark.parametrize(
    ("output", "targets"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param(", ,", (), id="commas"),
        pytest.param("a, b@r.test", (mail("a@d1.test"), mail("b@r.test")), id="list"),
        pytest.param("a\\nb", (mail("a@d1.test"), mail("b@d1.test")), id="lines"),
        pytest.param("| cmd x, y", (PipeTarget(("cmd", "x,", "y")),), id="pipe"),
        pytest.param(
            "j@r.test via m1/m2", (ViaTarget(Address("j", "r.test"), ("m1", "m2")),), id="via"
        ),
        pytest.param("*@r.test", (mail("*@r.test"),), id="star"),
    ],
)
async def test_output_is_a_right_hand_side(
    site: Site, output: str, targets: tuple[object, ...]
) -> None:
    site.write("alias-resolve", f"printf '{output}'")
    assert await hooks_of(site).resolve(INFO) == targets


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("exit 1", id="status"),
        pytest.param("kill -9 $$", id="signal"),
        pytest.param("sleep 60", id="deadline"),
        pytest.param("echo '|'", id="empty-pipe"),
        pytest.param("echo 'a b@r.test'", id="blank"),
        pytest.param("echo '# x'", id="comment"),
        pytest.param("printf 'a\\377'", id="not-utf-8"),
        pytest.param("printf 'a\\001b'", id="control"),
        pytest.param("yes", id="flood"),
    ],
)
async def test_failure_is_never_no_alias(site: Site, text: str) -> None:
    site.set(alias_timeout=timedelta(seconds=0.5))
    site.write("alias-resolve", text)
    with pytest.raises(AliasHookFailed, match="hooks/alias-resolve: "):
        await hooks_of(site).resolve(INFO)


async def test_call_has_one_argument_and_a_small_environment(site: Site) -> None:
    site.write(
        "alias-resolve",
        f'printf \'%s\\n\' $# "$1" "$PWD" > {site.path}/seen; cat >> {site.path}/seen\n'
        f"tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | sort > {site.path}/names",
    )
    await hooks_of(site).resolve(Address("in.fo+x", "d1.test"))
    assert (site.path / "seen").read_text() == f"1\nin.fo+x@d1.test\n{site.path}\n"
    assert (site.path / "names").read_text().split() == ["PATH", "PWD", "SHELL", "USER"]


@pytest.mark.parametrize("local", ["-rf", "a\nb", "a\x1bb"])
async def test_address_that_could_mislead_a_program_is_no_alias(site: Site, local: str) -> None:
    site.write("alias-resolve", "echo x")
    site.write("alias-exists", "exit 0")
    hooks = hooks_of(site)
    assert await hooks.resolve(Address(local, "d1.test")) == ()
    assert hooks.resolve_now(Address(local, "d1.test")) == ()
    assert await hooks.exists(Address(local, "d1.test")) is False


async def test_targets_of_several_hooks_add_up_each_once(site: Site) -> None:
    site.write("alias-resolve", "echo a,b")
    site.write("alias-resolve.d/1", "echo b,c")
    targets = await hooks_of(site).resolve(INFO)
    assert targets == (mail("a@d1.test"), mail("b@d1.test"), mail("c@d1.test"))


async def test_answers_are_kept_and_asked_for_once_at_a_time(site: Site) -> None:
    site.set(cache_ttl=KEPT, negative_ttl=KEPT)
    site.write("alias-resolve", f"echo $1 >> {site.path}/asked; [ $1 = info@d1.test ] && echo a")
    site.write("alias-resolve", f"echo $1 >> {site.path}/asked; case $1 in info@*) echo a;; esac")
    hooks = hooks_of(site)
    assert hooks.resolve_now(INFO) is None
    await asyncio.gather(*(hooks.resolve(INFO) for _ in range(10)))
    assert await hooks.resolve(INFO) == hooks.resolve_now(INFO) == (mail("a@d1.test"),)
    nobody = Address("nobody", "d1.test")
    for _ in range(3):
        assert await hooks.resolve(nobody) == ()
    assert (site.path / "asked").read_text().split() == ["info@d1.test", "nobody@d1.test"]


async def test_edited_hook_is_asked_again_at_once(site: Site) -> None:
    site.set(cache_ttl=KEPT)
    site.write("alias-resolve", "echo one")
    hooks = hooks_of(site)
    assert await hooks.resolve(INFO) == (mail("one@d1.test"),)
    site.write("alias-resolve", "echo other")
    assert await hooks.resolve(INFO) == (mail("other@d1.test"),)


async def test_0_keeps_nothing(site: Site) -> None:
    site.set(cache_ttl=NOT_KEPT, negative_ttl=NOT_KEPT)
    site.write("alias-resolve", f"echo x >> {site.path}/count")
    hooks = hooks_of(site)
    for _ in range(2):
        await hooks.resolve(INFO)
    assert (site.path / "count").read_text() == "x\n" * 2


async def test_failures_are_not_kept(site: Site) -> None:
    site.set(cache_ttl=KEPT, negative_ttl=KEPT)
    site.write("alias-resolve", f"if mkdir {site.path}/once; then exit 1; fi; echo a")
    hooks = hooks_of(site)
    with pytest.raises(AliasHookFailed):
        await hooks.resolve(INFO)
    assert await hooks.resolve(INFO) == (mail("a@d1.test"),)


@pytest.mark.parametrize(("status", "known"), [(0, True), (1, False), (255, False)])
async def test_exists_by_exit_status(site: Site, status: int, known: bool) -> None:
    site.write("alias-exists", f"echo ignored; exit {status}")
    assert await hooks_of(site).exists(INFO) is known


async def test_failure_of_exists_is_absent_or_tempfail(site: Site) -> None:
    site.write("alias-exists", "kill -9 $$")
    assert await hooks_of(site).exists(INFO) is False
    site.set(alias_exists_errors="tempfail")
    with pytest.raises(AliasHookFailed):
        await hooks_of(site).exists(INFO)


DECLARED = """
[[hook]]
stage = "alias-resolve"
target = "resolve"
timeout = "2s"
[[hook]]
stage = "alias-exists"
target = "exists"
on_error = "accept"
"""


def declare(site: Site, name: str, answer: dict[str, object]) -> None:
    path = site.path / name
    path.write_text(f"#!/bin/sh\ncat <&3 > {site.path}/told\necho '{json.dumps(answer)}' >&4\n")
    path.chmod(0o755)


async def test_contract_v2(make_site: MakeSite) -> None:
    site = make_site(DECLARED)
    declare(site, "resolve", {"targets": ["a", "b@r.test"]})
    declare(site, "exists", {"exists": True})
    hooks = hooks_of(site)
    assert await hooks.resolve(INFO) == (mail("a@d1.test"), mail("b@r.test"))
    assert json.loads((site.path / "told").read_text()) == {
        "stage": "alias-resolve",
        "address": "info@d1.test",
    }
    assert await hooks.exists(INFO) is True


async def test_contract_v2_may_not_give_pipes(make_site: MakeSite) -> None:
    site = make_site(DECLARED)
    declare(site, "resolve", {"targets": ["| /bin/sh"]})
    with pytest.raises(AliasHookFailed, match="pipe and via"):
        await hooks_of(site).resolve(INFO)


async def test_contract_v2_failure_follows_on_error(make_site: MakeSite) -> None:
    site = make_site(DECLARED)
    hooks = hooks_of(site)
    assert await hooks.exists(INFO) is False  # on_error = "accept"
    with pytest.raises(AliasHookFailed):
        await hooks.resolve(INFO)
