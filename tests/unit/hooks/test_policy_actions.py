"""Policy delegation: requests and actions, without I/O."""

from __future__ import annotations

import pytest

from relevo.hooks.contract import Accept, Changes, Client, Discard, Refuse, Stage
from relevo.hooks.contract.contexts import MailContext, RcptContext
from relevo.hooks.contract.json_form import encode_context
from relevo.hooks.contract.verdicts import InvalidVerdict
from relevo.hooks.policy.actions import read_answer
from relevo.hooks.policy.attributes import read_context, request

CLIENT = Client("192.0.2.7", 40123, "evil\nclient_address=127.0.0.1")


def test_no_value_can_end_its_line() -> None:
    context = RcptContext(
        client=CLIENT, listener="SMTP", reverse_path="<>", forward_path="b@d.test", auth="u@d.test"
    )
    lines = request(read_context(encode_context(context)), "i1").decode().split("\n")
    assert lines[-2:] == ["", ""]
    pairs = dict(line.split("=", 1) for line in lines[:-2])
    assert len(pairs) == len(lines) - 2, "each name once"
    assert pairs["client_address"] == "192.0.2.7"
    assert pairs["protocol_state"] == "RCPT"
    assert (pairs["sender"], pairs["recipient"]) == ("", "b@d.test")
    assert (pairs["sasl_username"], pairs["instance"]) == ("u@d.test", "i1")


def test_the_size_is_told_at_mail() -> None:
    context = MailContext(client=CLIENT, listener="SMTP", reverse_path="a@r.test", size=7)
    octets = request(read_context(encode_context(context)), "i1")
    assert b"protocol_state=MAIL\n" in octets
    assert b"size=7\n" in octets


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        ("dunno", Accept()),
        ("OK", Accept()),
        ("permit", Accept()),
        ("250", Accept()),
        ("warn odd client", Accept()),
        ("defer_if_reject later", Accept()),
        ("reject", Refuse(550, "5.7.1", "Message rejected by policy")),
        ("REJECT not you", Refuse(550, "5.7.1", "not you")),
        ("550 5.1.1 no such user", Refuse(550, "5.1.1", "no such user")),
        ("450 come again", Refuse(450, "4.7.1", "come again")),
        ("defer_if_permit 4.2.0 Greylisted", Refuse(451, "4.2.0", "Greylisted")),
        ("reject 4.2.0 odd", Refuse(550, "5.7.1", "odd")),
        ("discard because", Discard("because")),
        ("hold look at it", Accept(Changes(hold="look at it"))),
        ("prepend X-A: b", Accept(Changes(add=b"X-A: b\r\n"))),
        ("redirect c@d.test", Accept(Changes(redirect=("c@d.test",)))),
    ],
)
def test_actions(action: str, verdict: object) -> None:
    assert read_answer(Stage.RCPT, f"action={action}\n\n".encode()).verdict == verdict


@pytest.mark.parametrize(
    "answer",
    [
        b"action=filter smtp:x\n\n",
        b"action=\n\n",
        b"action=prepend X-A\n\n",
        b"action=prepend\n\n",
        b"action=redirect nobody\n\n",
        b"action=ok\naction=reject\n\n",
        b"ok\n\n",
        b"other=ok\n\n",
        b"action=\xff\n\n",
    ],
)
def test_what_cannot_be_done_is_a_failure(answer: bytes) -> None:
    with pytest.raises(InvalidVerdict):
        read_answer(Stage.RCPT, answer)


def test_redirect_is_of_a_recipient() -> None:
    with pytest.raises(InvalidVerdict):
        read_answer(Stage.MAIL, b"action=redirect c@d.test\n\n")
