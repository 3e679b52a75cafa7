"""The milter protocol without I/O: what a filter is told, and what its answers mean."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from relevo.hooks.contract import Accept, Client, Discard, PostDataContext, Refuse
from relevo.hooks.contract.contexts import Tls
from relevo.hooks.contract.verdicts import InvalidVerdict
from relevo.hooks.milter.agreement import Agreement, read_agreement
from relevo.hooks.milter.conversation import MAX_PROGRESS, Conversation
from relevo.hooks.milter.header_edits import HeaderEdits, split_head
from relevo.hooks.milter.packets import ALL_ACTIONS, ALL_STEPS, Action, Reply, Step
from relevo.hooks.milter.session import SessionTold
from relevo.hooks.services.failures import ServiceFailed

HEAD = b"Subject: hello\r\nX-Two: 1\r\nX-Two: a\r\n b\r\nTo: b@d.test\r\n"
NO_STEPS = Step(0)
CONTEXT = PostDataContext(
    message_id="id1",
    client=Client("2001:db8::7", 2525, "mail.r.test"),
    tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    auth="ann@r.test",
    reverse_path="a@r.test",
    forward_paths=("b@d.test", "c@d.test"),
    size=99,
)


def agreement(
    steps: Step = NO_STEPS,
    actions: Action = ALL_ACTIONS,
    macros: Mapping[int, frozenset[str]] | None = None,
) -> Agreement:
    return Agreement(6, actions, steps, macros or {})


def conversation(agreed: Agreement | None = None, most: int = 1000) -> Conversation:
    agreed = agreed or agreement()
    return Conversation(SessionTold(CONTEXT, "mx.test", agreed), agreed, HEAD, most)


def packets(octets: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while octets:
        (length,) = struct.unpack_from("!I", octets)
        found.append((octets[4:5], octets[5 : 4 + length]))
        octets = octets[4 + length :]
    return found


def at_the_end(agreed: Agreement | None = None, most: int = 1000) -> Conversation:
    talk = conversation(agreed, most)
    talk.opening()
    while talk.awaits:
        assert talk.take(Reply.CONTINUE, b"") is None
    talk.end()
    return talk


def test_the_session_is_told_in_order_with_its_macros() -> None:
    told = packets(conversation().opening())
    letters = b"".join(letter for letter, _ in told)
    assert letters == b"DCDHDMDRDRDTLLLLDN"
    by_letter = {letter: data for letter, data in told if letter != b"D"}
    assert by_letter[b"C"] == b"[2001:db8::7]\x006\x09\xdd2001:db8::7\0"
    assert by_letter[b"H"] == b"mail.r.test\0"
    assert by_letter[b"M"] == b"<a@r.test>\0SIZE=99\0"
    assert by_letter[b"R"] == b"<c@d.test>\0"
    macros = [data for letter, data in told if letter == b"D"]
    assert b"j\0mx.test\0" in macros[0]
    assert b"{tls_version}\0TLSv1.3\0" in macros[1]
    assert b"{auth_authen}\0ann@r.test\0" in macros[2]
    assert b"i\0id1\0" in macros[2]


def test_header_fields_keep_their_folds_as_lf() -> None:
    fields = [data for letter, data in packets(conversation().opening()) if letter == b"L"]
    assert fields[2] == b"X-Two\0a\n b\0"
    with_space = conversation(agreement(Step.LEADING_SPACE)).opening()
    fields = [data for letter, data in packets(with_space) if letter == b"L"]
    assert fields[0] == b"Subject\0 hello\0"


def test_only_macros_that_the_filter_names_are_told() -> None:
    agreed = agreement(macros={0: frozenset({"j"}), 1: frozenset(), 2: frozenset({"i"})})
    told = packets(conversation(agreed).opening())
    assert told[0] == (b"D", b"Cj\0mx.test\0")
    assert [letter for letter, _ in told[:4]] == [b"D", b"C", b"H", b"D"]


def test_steps_that_the_filter_does_not_want_are_left_out() -> None:
    steps = ALL_STEPS & ~Step.SKIP
    talk = conversation(agreement(steps))
    assert talk.opening() == b""
    assert not talk.awaits
    assert not talk.wants_body
    assert packets(talk.end())[-1] == (b"E", b"")


def test_the_next_message_of_a_client_begins_with_its_sender() -> None:
    told = SessionTold(CONTEXT, "mx.test", agreement())
    talk = Conversation(told, agreement(), HEAD, 1000, is_first=False)
    letters = b"".join(letter for letter, _ in packets(talk.opening()))
    assert letters.startswith(b"DMDR")


def test_silent_steps_are_not_waited_for() -> None:
    talk = conversation(agreement(Step.SILENT_HEADER | Step.SILENT_CONNECT))
    talk.opening()
    answers = 0
    while talk.awaits:
        talk.take(Reply.CONTINUE, b"")
        answers += 1
    assert answers == 6  # helo, mail, two of rcpt, data, end of header


@pytest.mark.parametrize(
    ("reply", "data", "verdict"),
    [
        (Reply.ACCEPT, b"", Accept()),
        (Reply.REJECT, b"", Refuse(554, "5.7.1", "Message rejected by policy")),
        (Reply.TEMPFAIL, b"", Refuse(451, "4.7.1", "Temporary policy failure, try again later")),
        (Reply.DISCARD, b"", Discard("the filter discards it")),
        (Reply.REPLY_CODE, b"550 5.7.9 no\0", Refuse(550, "5.7.9", "no")),
        (Reply.REPLY_CODE, b"450-4.2.0 a\r\n450 4.2.0 b\0", Refuse(450, "4.2.0", "a b")),
        (Reply.REPLY_CODE, b"550 4.7.9 no\0", Refuse(550, "5.7.1", "no")),
        (Reply.SHUTDOWN, b"", Refuse(421, "4.7.1", "Service not available, closing connection")),
    ],
)
def test_verdicts_before_the_end_end_it(reply: Reply, data: bytes, verdict: object) -> None:
    talk = conversation()
    talk.opening()
    assert talk.take(Reply.CONTINUE, b"") is None
    assert talk.take(reply, data) == verdict
    assert not talk.is_complete, "the connection is not used again"


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (Reply.CONNECTION_FAIL, b""),
        (Reply.SKIP, b""),
        (Reply.NEGOTIATE, b""),
        (Reply.ADD_HEADER, b"X\0y\0"),
        (Reply.REPLY_CODE, b"550 no end"),
        (Reply.REPLY_CODE, b"250 2.0.0 fine\0"),
        (Reply.REPLY_CODE, b"550 a\r\nEvil: b\0"),
    ],
)
def test_what_cannot_be_said_is_a_failure(reply: Reply, data: bytes) -> None:
    talk = conversation()
    talk.opening()
    with pytest.raises((ServiceFailed, InvalidVerdict)):
        talk.take(reply, data)


def test_every_modification_becomes_a_change() -> None:
    talk = at_the_end()
    number = (1).to_bytes(4, "big")
    for reply, data in (
        (Reply.ADD_HEADER, b"X-Last\0z\0"),
        (Reply.INSERT_HEADER, bytes(4) + b"X-First\0a\n\tb\0"),
        (Reply.CHANGE_HEADER, number + b"Subject\0new\0"),
        (Reply.CHANGE_HEADER, (2).to_bytes(4, "big") + b"x-two\0\0"),
        (Reply.ADD_RECIPIENT, b"<new@d.test>\0"),
        (Reply.ADD_RECIPIENT_WITH, b"<n2@d.test>\0NOTIFY=NEVER\0"),
        (Reply.DELETE_RECIPIENT, b"<b@d.test>\0"),
        (Reply.CHANGE_FROM, b"<>\0"),
        (Reply.REPLACE_BODY, b"one\r\n"),
        (Reply.REPLACE_BODY, b"two\n"),
        (Reply.QUARANTINE, b"odd\0"),
        (Reply.PROGRESS, b""),
    ):
        assert talk.take(reply, data) is None
    verdict = talk.take(Reply.CONTINUE, b"")
    assert isinstance(verdict, Accept)
    assert talk.is_complete
    changes = verdict.changes
    assert changes.head is not None
    assert changes.head.octets == (
        b"X-First: a\r\n\tb\r\nSubject: new\r\nX-Two: 1\r\nTo: b@d.test\r\nX-Last: z\r\n"
    )
    assert changes.add_recipients == ("new@d.test", "n2@d.test")
    assert changes.remove_recipients == ("b@d.test",)
    assert (changes.reverse_path, changes.body) == ("", b"one\r\ntwo\r\n")
    assert changes.hold == "odd"


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (Reply.ADD_HEADER, b"X-A\0a\nEvil: b\0"),
        (Reply.ADD_HEADER, b"X A\0a\0"),
        (Reply.ADD_HEADER, b"X-A\0a\rb\0"),
        (Reply.ADD_HEADER, b"X-A\0" + b"x" * 1000 + b"\0"),
        (Reply.ADD_HEADER, b"X-A\0no end"),
        (Reply.INSERT_HEADER, b"\0\0"),
        (Reply.ADD_RECIPIENT, b"<a\nb@d.test>\0"),
        (Reply.ADD_RECIPIENT, b"<\xff@d.test>\0"),
        (Reply.REPLACE_BODY, b"x" * 1001),
    ],
)
def test_broken_modifications_are_failures(reply: Reply, data: bytes) -> None:
    with pytest.raises((ServiceFailed, InvalidVerdict)):
        at_the_end().take(reply, data)


def test_what_was_not_negotiated_may_not_be_done() -> None:
    talk = at_the_end(agreement(actions=Action.ADD_HEADERS))
    assert talk.take(Reply.ADD_HEADER, b"X-A\0a\0") is None
    with pytest.raises(ServiceFailed, match="negotiated"):
        talk.take(Reply.REPLACE_BODY, b"x")


def test_a_filter_that_only_goes_on_is_given_up() -> None:
    talk = at_the_end()
    for _ in range(MAX_PROGRESS):
        talk.take(Reply.PROGRESS, b"")
    with pytest.raises(ServiceFailed):
        talk.take(Reply.PROGRESS, b"")


def test_skip_ends_the_body_alone() -> None:
    talk = conversation(agreement(Step.SKIP))
    talk.opening()
    while talk.awaits:
        talk.take(Reply.CONTINUE, b"")
    talk.body(b"a piece")
    assert talk.take(Reply.SKIP, b"") is None
    assert not talk.wants_body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("!III", 1, 0, 0),
        struct.pack("!III", 7, 0, 0),
        struct.pack("!III", 6, 0x200, 0),
        struct.pack("!III", 6, 0, 0x800),
        struct.pack("!III", 6, 0, 0) + b"\0\0\0\0no end",
        struct.pack("!III", 6, 0, 0) + b"\0\0\0\0j\0" * 20,
    ],
)
def test_a_broken_negotiation_is_a_failure(data: bytes) -> None:
    with pytest.raises(ServiceFailed):
        read_agreement(data)


def test_the_negotiation_names_macros() -> None:
    agreed = read_agreement(struct.pack("!III", 6, 1, 0x40) + b"\0\0\0\0j {daemon_name}\0")
    assert agreed.macros == {0: ("j", "daemon_name")}
    assert agreed.has(Step.NO_END_OF_HEADER)


def test_a_header_is_split_and_put_together_unchanged() -> None:
    assert b"".join(octets for _, octets in split_head(HEAD)) == HEAD
    assert [name for name, _ in split_head(HEAD)] == [b"Subject", b"X-Two", b"X-Two", b"To"]
    assert HeaderEdits(HEAD, keeps_space=False).result() is None
