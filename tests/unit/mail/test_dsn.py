"""DSNs, read back by Python's email package."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mail.dsn import MAX_ATTACHED, compose_dsn
from relevo.mail.dsn_facts import DsnAction, DsnFacts, DsnRecipient
from relevo.mail.trace import rfc5322_date

ORIGINAL = b"Message-ID: <1@pass.test>\r\nSubject: hi\r\n\r\nhello \xff\r\n"
UNKNOWN = DsnRecipient(
    original="user@d1.test",
    final="x@r.test",
    action=DsnAction.FAILED,
    status="5.1.1",
    diagnostic="550 5.1.1 no such user\nsecond line",
    remote_mta="mx.r.test",
)
FACTS = DsnFacts(
    domain="d1.test",
    hostname="mx.test",
    reverse_path="a@pass.test",
    recipients=(UNKNOWN,),
    original=ORIGINAL,
    arrival=1795505971.0,
    now=1795509571.0,
    token="tok1",
)


def read(facts: DsnFacts) -> tuple[EmailMessage, list[EmailMessage]]:
    """The parsed DSN and its three parts."""
    octets = compose_dsn(facts)
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    parts = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
    assert len(parts) == 3
    return message, parts


def report(facts: DsnFacts) -> list[EmailMessage]:
    """Blocks of the part for programs: the message's, then one a recipient."""
    payload = read(facts)[1][1].get_payload()
    assert isinstance(payload, list)
    return [block for block in payload if isinstance(block, EmailMessage)]


def text(facts: DsnFacts) -> str:
    return str(read(facts)[1][0].get_content()).replace("\r\n", "\n")


def attached(facts: DsnFacts) -> bytes:
    """The octets of the third part, as they stand in the message."""
    octets = compose_dsn(facts)
    start = octets.rindex(b"Content-Description: Undelivered")
    start = octets.index(b"\r\n\r\n", start) + 4
    return octets[start : octets.rindex(b"\r\n--")]


@pytest.mark.case("Q10")
def test_header_of_a_failure() -> None:
    message, parts = read(FACTS)
    assert message["From"] == "Mail Delivery System <postmaster-dsn@d1.test>"
    assert b"\r\nTo: <a@pass.test>\r\n" in compose_dsn(FACTS)
    assert message["Subject"] == "Mail delivery failed: returning message to sender"
    assert message["X-Failed-Recipients"] == "user@d1.test"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<1@pass.test>"
    assert message["Message-ID"] == "<relevo-dsn-tok1@d1.test>"
    assert message["Date"] == rfc5322_date(FACTS.now)
    assert message["Received"] is None
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in parts] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]


def test_report_of_a_failure() -> None:
    about_message, about_recipient = report(replace(FACTS, envid="QQ314"))
    assert about_message["Reporting-MTA"] == "dns; mx.test"
    assert about_message["Original-Envelope-Id"] == "QQ314"
    assert about_message["Arrival-Date"] == rfc5322_date(FACTS.arrival)
    assert about_recipient["Original-Recipient"] == "rfc822; user@d1.test"
    assert about_recipient["Final-Recipient"] == "rfc822; x@r.test"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert about_recipient["Remote-MTA"] == "dns; mx.r.test"
    assert " ".join(about_recipient["Diagnostic-Code"].split()) == (
        "smtp; 550 5.1.1 no such user second line"
    )


def test_text_tells_address_reason_and_remedy() -> None:
    content = text(FACTS)
    assert "  user@d1.test\n" in content
    assert "check it for typing errors" in " ".join(content.split())
    assert "    550 5.1.1 no such user\n    second line\n" in content
    assert "user@d1.test (by way of x@r.test)" in content
    assert "Your message is attached." in " ".join(content.split())


def test_original_is_attached_as_it_was() -> None:
    assert attached(FACTS) == ORIGINAL


@pytest.mark.case("Q12")
def test_timeout_has_the_general_temporary_status() -> None:
    late = replace(UNKNOWN, status="4.4.1", diagnostic="421 4.4.1 busy", is_timed_out=True)
    facts = replace(FACTS, recipients=(late,))
    assert report(facts)[1]["Status"] == "4.0.0"
    assert report(facts)[1]["Action"] == "failed"
    assert "gave up after repeated tries" in text(facts)


@pytest.mark.parametrize(
    ("action", "status", "reported"),
    [
        (DsnAction.FAILED, "", "5.0.0"),
        (DsnAction.FAILED, "5.7.1", "5.7.1"),
        (DsnAction.FAILED, "nonsense", "5.0.0"),
        (DsnAction.DELAYED, "", "4.0.0"),
        (DsnAction.DELAYED, "4.2.2", "4.2.2"),
        (DsnAction.DELIVERED, "", "2.0.0"),
    ],
)
def test_status_is_the_real_one_or_general(action: DsnAction, status: str, reported: str) -> None:
    facts = replace(FACTS, recipients=(replace(UNKNOWN, action=action, status=status),))
    assert report(facts)[1]["Status"] == reported


def test_command_of_a_pipe_is_never_shown() -> None:
    pipe = replace(
        UNKNOWN, final="", diagnostic="exit status 1", diagnostic_type="x-unix", remote_mta=""
    )
    facts = replace(FACTS, recipients=(pipe,))
    assert report(facts)[1]["Final-Recipient"] == "rfc822; user@d1.test"
    assert report(facts)[1]["Diagnostic-Code"] == "x-unix; exit status 1"


def test_orcpt_is_given_back() -> None:
    facts = replace(FACTS, recipients=(replace(UNKNOWN, orcpt="rfc822;Bob@d1.test"),))
    assert report(facts)[1]["Original-Recipient"] == "rfc822; Bob@d1.test"


def test_original_without_message_id_is_no_empty_reference() -> None:
    for head in (b"A: b\r\n", b"Message-ID:\r\n", b"Message-ID: <a b>\r\n", b""):
        message, _ = read(replace(FACTS, original=head + b"\r\nx"))
        assert "In-Reply-To" not in message
        assert "References" not in message


def test_delay_says_that_it_goes_on() -> None:
    waiting = replace(UNKNOWN, action=DsnAction.DELAYED, status="4.4.1")
    facts = replace(FACTS, recipients=(waiting,), will_retry_until=FACTS.now + 3600)
    message, _ = read(facts)
    assert message["Subject"].startswith("Mail delivery delayed")
    assert "X-Failed-Recipients" not in message
    assert report(facts)[1]["Action"] == "delayed"
    assert report(facts)[1]["Will-Retry-Until"] == rfc5322_date(FACTS.now + 3600)
    assert "need not do anything" in " ".join(text(facts).split())


def test_success_is_reported_when_it_was_asked_for() -> None:
    for action in (DsnAction.DELIVERED, DsnAction.RELAYED, DsnAction.EXPANDED):
        facts = replace(FACTS, recipients=(replace(UNKNOWN, action=action, status="2.1.5"),))
        message, _ = read(facts)
        assert message["Subject"].startswith("Mail delivery report")
        assert report(facts)[1]["Action"] == action.value


def test_recipients_are_named_once_and_sorted() -> None:
    recipients = tuple(replace(UNKNOWN, original=f"{name}@d1.test") for name in "cabca")
    message, _ = read(replace(FACTS, recipients=recipients))
    assert message["X-Failed-Recipients"].split() == ["a@d1.test,", "b@d1.test,", "c@d1.test"]


def test_many_recipients_make_no_long_line() -> None:
    recipients = tuple(replace(UNKNOWN, original=f"user{n}@d1.test") for n in range(1000))
    octets = compose_dsn(replace(FACTS, recipients=recipients))
    assert max(map(len, octets.split(b"\r\n"))) < 998


@pytest.mark.case("Q10")
def test_large_original_is_cut() -> None:
    original = ORIGINAL + b"x" * (MAX_ATTACHED - len(ORIGINAL) - 1) + b"\r\nmore\r\n"
    facts = replace(FACTS, original=original)
    assert attached(facts) == original[: MAX_ATTACHED - 1]  # not between CR and LF
    assert "first 256 KiB" in " ".join(text(facts).split())
    assert len(compose_dsn(facts)) < MAX_ATTACHED + 8192


def test_header_only_when_asked_for() -> None:
    facts = replace(FACTS, returns_headers_only=True)
    assert read(facts)[1][2].get_content_type() == "text/rfc822-headers"
    assert attached(facts) == b"Message-ID: <1@pass.test>\r\nSubject: hi\r\n"
    assert "The header of your message is attached." in " ".join(text(facts).split())


def test_binary_original_is_returned_as_its_header() -> None:
    facts = replace(FACTS, original=b"A: b\r\n\r\nbare \n and \r here")
    assert read(facts)[1][2].get_content_type() == "text/rfc822-headers"
    assert attached(facts) == b"A: b\r\n"


def test_boundary_stands_in_no_part() -> None:
    facts = replace(FACTS, original=ORIGINAL + b"--relevo-tok1--\r\nrelevo-tok1-x\r\n")
    message, _ = read(facts)
    assert message.get_boundary() == "relevo-tok1-x-x"
    assert attached(facts) == facts.original


def test_utf8_domains_are_written_as_a_labels() -> None:
    recipient = replace(UNKNOWN, original="u@ñandú.test", final="u@ñandú.test")
    facts = replace(FACTS, domain="ñandú.test", reverse_path="a@ñ.test", recipients=(recipient,))
    assert not facts.needs_smtputf8
    message, parts = read(facts)
    assert message["From"] == "Mail Delivery System <postmaster-dsn@xn--and-6ma2c.test>"
    assert message["To"] == "a@xn--ida.test"
    assert parts[1].get_content_type() == "message/delivery-status"
    assert report(facts)[1]["Final-Recipient"] == "rfc822; u@xn--and-6ma2c.test"


@pytest.mark.parametrize(
    ("changed", "attachment"),
    [(False, "message/global"), (True, "message/global-headers")],
)
def test_utf8_local_part_needs_the_global_types(changed: bool, attachment: str) -> None:
    recipient = replace(UNKNOWN, original="ñ@d1.test", final="ñ@d1.test")
    facts = replace(FACTS, recipients=(recipient,), returns_headers_only=changed)
    assert facts.needs_smtputf8
    octets = compose_dsn(facts)
    assert b"Content-Type: message/global-delivery-status\r\n" in octets
    assert f"Content-Type: {attachment}\r\n".encode() in octets
    assert "Final-Recipient: utf-8; ñ@d1.test\r\n".encode() in octets


def test_utf8_local_part_for_a_sender_who_takes_ascii_only() -> None:
    recipient = replace(UNKNOWN, original="n@d1.test", final="ñ\\x@ñandú.test")
    facts = replace(FACTS, recipients=(recipient,), takes_smtputf8=False)
    assert not facts.needs_smtputf8
    _, parts = read(facts)
    assert parts[1].get_content_type() == "message/delivery-status"
    fields = report(facts)[1]
    assert fields["Original-Recipient"] == "rfc822; n@d1.test"
    assert fields["Final-Recipient"] == "utf-8; \\x{F1}\\x{5C}x@xn--and-6ma2c.test"
    head = compose_dsn(facts).partition(b"\r\n\r\n")[0]
    assert head.isascii()


def test_diagnostic_outside_ascii_does_not_change_the_types() -> None:
    facts = replace(FACTS, recipients=(replace(UNKNOWN, diagnostic="550 año"),))
    assert report(facts)[1]["Diagnostic-Code"] == "smtp; 550 a?o"
    assert "    550 año\n" in text(facts)


@pytest.mark.parametrize("changes", [{"reverse_path": ""}, {"reverse_path": "<>"}])
@pytest.mark.case("Q11")
def test_null_reverse_path_gets_no_dsn(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="null reverse-path"):
        replace(FACTS, **changes)  # type: ignore[arg-type]  # a table of strings


HOSTILE = st.text(max_size=60)


@given(
    diagnostic=HOSTILE, original=HOSTILE, final=HOSTILE, mta=HOSTILE, orcpt=HOSTILE, envid=HOSTILE
)
def test_no_value_breaks_the_structure(
    diagnostic: str, original: str, final: str, mta: str, orcpt: str, envid: str
) -> None:
    recipient = DsnRecipient(
        original=original or "u@d1.test",
        final=final,
        action=DsnAction.FAILED,
        diagnostic=diagnostic,
        remote_mta=mta,
        orcpt=orcpt,
    )
    octets = compose_dsn(replace(FACTS, recipients=(recipient,), envid=envid))
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    message = message_from_bytes(octets)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3
    assert max(map(len, octets.split(b"\r\n"))) < 998
    assert octets.count(b"\r\nAction: ") == 1
    assert octets.count(b"\r\nSubject: ") == 2  # ours and the original's


@given(st.binary(max_size=200))
def test_any_original_can_be_returned(original: bytes) -> None:
    octets = compose_dsn(replace(FACTS, original=original))
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
