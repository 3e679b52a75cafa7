"""Which mail takes another way than the mail exchangers."""

from __future__ import annotations

import pytest

from relevo.config import Config
from relevo.config.outbound_model import DeclaredRoute, Outbound
from relevo.delivery.route_rules import RouteTable, route_table
from relevo.delivery.routing import to_exchangers

TABLE = route_table(
    Config(
        outbound=Outbound(smarthost=("relay.test",)),
        route=(
            DeclaredRoute(recipients=("direct.test",)),
            DeclaredRoute(recipients=("*.sub.test",), servers=("one.test",)),
            DeclaredRoute(recipients=("xn--bcher-kva.test",), servers=("books.test",)),
            DeclaredRoute(senders=("vip.test",), servers=("two.test", "three.test"), name="vip"),
            DeclaredRoute(recipients=("boxes.test",), servers=("lm.test:24",), protocol="lmtp"),
        ),
    )
)


@pytest.mark.parametrize(
    ("domain", "sender", "route"),
    [
        ("direct.test", "a@vip.test", "mx:direct.test"),
        ("x.sub.test", "a@b.test", "smarthost:one.test"),
        ("sub.test", "a@b.test", "smarthost:relay.test"),
        ("xsub.test", "a@b.test", "smarthost:relay.test"),
        ("bücher.test", "a@b.test", "smarthost:books.test"),
        ("r.test", "a@vip.test", "smarthost:vip"),
        ("boxes.test", "", "lmtp:lm.test:24"),
        ("r.test", "", "smarthost:relay.test"),
    ],
)
def test_the_first_rule_that_fits_is_taken(domain: str, sender: str, route: str) -> None:
    assert TABLE.for_sender(sender)(domain) == route


def test_without_rules_mail_goes_to_the_exchangers() -> None:
    assert RouteTable().for_sender("a@b.test") is to_exchangers
    assert to_exchangers("r.test") == "mx:r.test"
