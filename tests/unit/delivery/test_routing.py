"""Targets to units."""

from __future__ import annotations

import pytest

from relevo.delivery.routing import ExpandedTarget, plan_units, route_kind
from relevo.directory import MailTarget, PipeTarget, Target, ViaTarget
from relevo.mail import Address
from relevo.queue.store import NewUnit, TargetKind
from unit.delivery.samples import NOW

ORIGINAL = Address("list", "d1.test")


def to(local: str, domain: str = "d1.test") -> MailTarget:
    return MailTarget(Address(local, domain))


def plan(*targets: Target) -> tuple[NewUnit, ...]:
    expanded = [ExpandedTarget(target, ORIGINAL, ("NEVER",), "rfc822;x@y") for target in targets]
    return plan_units(expanded, is_local=lambda domain: domain == "d1.test", now=NOW)


@pytest.mark.parametrize(
    ("target", "route"),
    [
        pytest.param(to("u"), "local", id="local-domain"),
        pytest.param(to("u", ""), "local", id="no-domain"),
        pytest.param(to("u", "r.test"), "mx:r.test", id="remote-domain"),
        pytest.param(PipeTarget(("cmd", "a")), "pipe", id="pipe"),
        pytest.param(
            ViaTarget(Address("u", "r.test"), ("m1.test", "m2.test")),
            "via:m1.test,m2.test",
            id="via",
        ),
        pytest.param(
            ViaTarget(Address("u", "d1.test"), ("m1.test",)), "via:m1.test", id="via-local"
        ),
    ],
)
def test_target_gets_its_route(target: Target, route: str) -> None:
    (unit,) = plan(target)
    assert unit.route == route
    assert unit.due == NOW
    assert unit.recipients[0].original == "list@d1.test"
    assert unit.recipients[0].notify == ("NEVER",)
    assert unit.recipients[0].orcpt == "rfc822;x@y"


def test_local_recipients_share_a_unit_and_remote_ones_share_one_a_domain() -> None:
    units = plan(to("a"), to("x", "r.test"), to("b"), to("y", "r.test"), to("z", "s.test"))
    shown = [(unit.route, [recipient.target for recipient in unit.recipients]) for unit in units]
    assert shown == [
        ("local", ["a@d1.test", "b@d1.test"]),
        ("mx:r.test", ["x@r.test", "y@r.test"]),
        ("mx:s.test", ["z@s.test"]),
    ]


def test_each_pipe_is_a_unit_of_its_own() -> None:
    units = plan(PipeTarget(("one",)), PipeTarget(("two", "words")))
    assert [unit.route for unit in units] == ["pipe", "pipe"]
    assert [unit.recipients[0].target for unit in units] == ["one", "two words"]
    assert units[0].recipients[0].kind is TargetKind.PIPE


def test_same_target_is_served_once() -> None:
    (unit,) = plan(to("a"), to("a"))
    assert len(unit.recipients) == 1


def test_same_address_by_mail_and_by_via_is_two_targets() -> None:
    address = Address("u", "r.test")
    units = plan(MailTarget(address), ViaTarget(address, ("m1",)), ViaTarget(address, ("m2",)))
    assert [unit.route for unit in units] == ["mx:r.test", "via:m1", "via:m2"]
    assert units[1].recipients[0].servers == ("m1",)


def test_quoted_local_part_survives() -> None:
    (unit,) = plan(to("a b"))
    assert unit.recipients[0].target == '"a b"@d1.test'


def test_nothing_makes_nothing() -> None:
    assert plan() == ()


@pytest.mark.parametrize(
    ("route", "kind"), [("local", "local"), ("mx:a:b", "mx"), ("via:x,y", "via"), ("", "")]
)
def test_route_kind(route: str, kind: str) -> None:
    assert route_kind(route) == kind
