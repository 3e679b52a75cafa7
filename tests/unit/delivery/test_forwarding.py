"""Reverse-paths of mail that is forwarded, and of mail that is not."""

from __future__ import annotations

import pytest

from relevo.delivery.forwarding import NO_FORWARDING, Forwarding, Rewriting
from relevo.delivery.routing import ExpandedTarget, plan_units
from relevo.directory import MailTarget, PipeTarget, ViaTarget
from relevo.mail import NULL, Address, parse_address
from relevo.mail.srs import NotOurs

SENDER = parse_address("a@b.test")
ALIAS = parse_address("ali@d1.test")


def rules(rewriting: Rewriting) -> Forwarding:
    return Forwarding(rewriting, b"s" * 32, lambda domain: domain == "d1.test", lambda: 20_000)


def rewritten(
    rewriting: Rewriting, sender: Address = SENDER, original: Address = ALIAS, identity: str = ""
) -> str:
    reverse_path = rules(rewriting).for_sender(sender, identity)
    return "" if reverse_path is None else reverse_path(original)


@pytest.mark.case("Q15")
@pytest.mark.case("Q19")
def test_chasquids_form() -> None:
    assert rewritten(Rewriting.CHASQUID) == "ali+fwd_from=a=b.test@d1.test"
    suffixed = parse_address("ali+x@d1.test")
    assert rewritten(Rewriting.CHASQUID, original=suffixed) == "ali+x+fwd_from=a=b.test@d1.test"
    assert rewritten(Rewriting.CHASQUID, parse_address("a@ñ.test")) == (
        "ali+fwd_from=a=xn--ida.test@d1.test"
    )


def test_srs_leads_back_to_the_sender() -> None:
    made = parse_address(rewritten(Rewriting.SRS))
    assert made.domain == "d1.test"
    assert rules(Rewriting.SRS).sender_behind(made.local) == SENDER


def test_mail_that_comes_back_to_its_first_forwarder_still_leads_to_the_sender() -> None:
    """In a loop: from us, over another forwarder, and to the same alias again."""
    ours = rules(Rewriting.SRS)
    other = Forwarding(Rewriting.SRS, b"o" * 32, lambda domain: domain == "c.test", ours.today)
    sender = SENDER
    for server, original in ((ours, ALIAS), (other, parse_address("x@c.test")), (ours, ALIAS)):
        make = server.for_sender(sender, "")
        assert make is not None
        sender = parse_address(make(original))
    assert sender.local.startswith("SRS1=")
    assert ours.sender_behind(sender.local) == SENDER


@pytest.mark.case("Q16")
@pytest.mark.case("Q17")
@pytest.mark.case("Q18")
@pytest.mark.parametrize("rewriting", list(Rewriting))
@pytest.mark.parametrize(
    ("sender", "original", "identity"),
    [
        (NULL, ALIAS, ""),
        (Address("cron", ""), ALIAS, ""),
        (parse_address("user@d1.test"), ALIAS, ""),
        (SENDER, parse_address("x@relayed.test"), ""),
        (SENDER, ALIAS, "user@d1.test"),
    ],
    ids=["null", "no-domain", "ours", "not-ours", "logged-in"],
)
def test_what_is_not_forwarded_keeps_its_sender(
    rewriting: Rewriting, sender: Address, original: Address, identity: str
) -> None:
    assert rewritten(rewriting, sender, original, identity) == ""


def test_a_sender_that_does_not_fit_is_kept() -> None:
    assert rewritten(Rewriting.SRS, parse_address(f"{'v' * 60}@b.test")) == ""


def test_ordinary_local_parts_lead_nowhere_and_forged_ones_are_refused() -> None:
    assert rules(Rewriting.SRS).sender_behind("ali") is None
    with pytest.raises(NotOurs):
        rules(Rewriting.SRS).sender_behind("SRS0=AAAAAAAA=TT=victim.test=ada")
    assert rules(Rewriting.CHASQUID).sender_behind("SRS0=AAAAAAAA=TT=victim.test=ada") is None
    assert NO_FORWARDING.for_sender(SENDER, "") is None


def test_only_what_leaves_is_rewritten() -> None:
    targets = (
        MailTarget(parse_address("user@d1.test")),
        MailTarget(parse_address("x@r.test")),
        PipeTarget(("prog",)),
        ViaTarget(parse_address("y@d1.test"), ("mail.test",)),
    )
    units = plan_units(
        [ExpandedTarget(target, ALIAS) for target in targets],
        is_local=lambda domain: domain == "d1.test",
        now=0.0,
        rewrite=rules(Rewriting.CHASQUID).for_sender(SENDER, ""),
    )
    found = {unit.route: unit.recipients[0].reverse_path for unit in units}
    made = "ali+fwd_from=a=b.test@d1.test"
    assert found == {"local": "", "mx:r.test": made, "pipe": "", "via:mail.test": made}
