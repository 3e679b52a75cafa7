"""What a client writes: nothing that could be read as another command."""

from __future__ import annotations

import pytest

from relevo.smtp.client_commands import (
    encode_utf8_address,
    encode_xtext,
    format_path,
    mail_command,
    rcpt_command,
)
from relevo.smtp.client_events import Outgoing, OutgoingRecipient
from relevo.smtp.events import BodyType, MailParameters, Notify, Path, RcptParameters, Ret

ALL = dict.fromkeys(("SIZE", "8BITMIME", "SMTPUTF8", "AUTH", "DSN"), "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (Path("", ""), "<>"),
        (Path("postmaster", ""), "<postmaster>"),
        (Path("a.b", "d.test"), "<a.b@d.test>"),
        (Path("a b", "d.test"), '<"a b"@d.test>'),
        (Path('a"\\', "d.test"), '<"a\\"\\\\"@d.test>'),
        (Path("a@b", "d.test"), '<"a@b"@d.test>'),
        (Path("a>b", "d.test"), '<"a>b"@d.test>'),
        (Path("a..b", "d.test"), '<"a..b"@d.test>'),
        (Path("", "d.test"), '<""@d.test>'),
        (Path("ñ", "[IPv6:::1]"), "<ñ@[IPv6:::1]>"),
    ],
)
def test_paths(path: Path, text: str) -> None:
    assert format_path(path) == text


@pytest.mark.parametrize(
    "path",
    [
        Path("a\r\nDATA", "d.test"),
        Path("a\nb", "d.test"),
        Path("a\0", "d.test"),
        Path("a\u2028", "d.test"),
        Path("a", "d.test>\r\nDATA"),
        Path("a", "d.test> SIZE=1"),
        Path("a", "d test"),
        Path("a", "b/c"),
        Path("a", "d@e"),
    ],
)
def test_what_could_carry_a_command_is_never_written(path: Path) -> None:
    with pytest.raises(ValueError, match="not an address"):
        format_path(path)


def test_mail_with_all_parameters_and_with_none_offered() -> None:
    parameters = MailParameters(
        size=7,
        body=BodyType.EIGHT_BIT_MIME,
        smtputf8=True,
        ret=Ret.HEADERS,
        envid="a+ b",
        auth="<>",
    )
    outgoing = Outgoing(Path("a", "b.test"), (), (), parameters)
    assert mail_command(outgoing, ALL) == (
        b"MAIL FROM:<a@b.test> SIZE=7 BODY=8BITMIME SMTPUTF8 AUTH=<> RET=HDRS ENVID=a+2B+20b\r\n"
    )
    assert mail_command(outgoing, {}) == b"MAIL FROM:<a@b.test>\r\n"
    assert mail_command(Outgoing(Path("", ""), (), ()), ALL) == b"MAIL FROM:<>\r\n"


def test_rcpt_with_all_parameters_and_with_none_offered() -> None:
    notify = frozenset({Notify.SUCCESS, Notify.DELAY})
    path = Path("c", "d.test")
    rfc822 = OutgoingRecipient(path, RcptParameters(notify, "rfc822;a=b@c"))
    assert rcpt_command(rfc822, ALL) == (
        b"RCPT TO:<c@d.test> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;a+3Db@c\r\n"
    )
    assert rcpt_command(rfc822, {}) == b"RCPT TO:<c@d.test>\r\n"
    utf8 = OutgoingRecipient(path, RcptParameters(orcpt="utf-8;ñ@c"))
    assert rcpt_command(utf8, ALL) == b"RCPT TO:<c@d.test> ORCPT=utf-8;\\x{F1}@c\r\n"
    assert rcpt_command(OutgoingRecipient(path), ALL) == b"RCPT TO:<c@d.test>\r\n"


def test_a_control_character_in_a_parameter_is_never_written() -> None:
    orcpt = RcptParameters(orcpt="rfc\r\n822;a")
    with pytest.raises(ValueError, match="control character"):
        rcpt_command(OutgoingRecipient(Path("c", "d.test"), orcpt), ALL)


def test_encodings() -> None:
    assert encode_xtext("a+=\n ñ~") == "a+2B+3D+0A+20+C3+B1~"
    assert encode_utf8_address("a+=\\ ñ") == "a\\x{2B}\\x{3D}\\x{5C}\\x{20}\\x{F1}"
