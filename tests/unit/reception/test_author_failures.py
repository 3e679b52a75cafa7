"""At reception: of which messages the author's domain is told at once."""

from __future__ import annotations

import pytest

from relevo.mailauth.dmarc.failed import FailedMessage
from relevo.reception import MailChecks
from unit.reception.conftest import Place, Running
from unit.reception.test_author_policy import answer_to

MESSAGE = b"From: a@far.test\r\nTo: user@d1.test\r\nSubject: private\r\n\r\nx\r\n"


@pytest.fixture
def asked(place: Place) -> Place:
    place.set("spf", check=True)
    place.set("dmarc", action="reject", failure_reports=True)
    place.names.records["_dmarc.far.test"] = "v=DMARC1; p=reject; ruf=mailto:r@far.test"
    return place


def told_of(place: Place, running: Running, message: bytes, sender: str) -> list[FailedMessage]:
    told: list[FailedMessage] = []

    async def run() -> None:
        services = place.services()
        services.mail_checks = MailChecks(services.mail_checks.keys, tell_failure=told.append)
        client = place.connect(services=services)
        client.say("EHLO cli\r\n")
        await answer_to(client, message, sender)

    running(run())
    return told


def test_a_message_that_fails_is_told(asked: Place, running: Running) -> None:
    (failed,) = told_of(asked, running, MESSAGE, "someone@pass.test")
    assert (failed.author_domain, failed.policy_domain) == ("far.test", "far.test")
    assert (failed.handling.value, failed.sender_domain) == ("reject", "pass.test")
    assert failed.results.endswith("polrec.p=reject")
    assert b"private" not in failed.fields


def test_without_the_option_nothing_is(asked: Place, running: Running) -> None:
    asked.set("dmarc", failure_reports=False)
    assert told_of(asked, running, MESSAGE, "someone@pass.test") == []


def test_bounces_and_reports_are_not(asked: Place, running: Running) -> None:
    assert told_of(asked, running, MESSAGE, "") == []
    report = b"Content-Type: multipart/report; boundary=x\r\n" + MESSAGE
    assert told_of(asked, running, report, "someone@pass.test") == []
