"""Laws of the server session: any cutting is the same, and no input raises."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.smtp.events import (
    BodyStart,
    Chunk,
    Event,
    MessageEnd,
    Reset,
    Violation,
)
from relevo.smtp.server import ServerSession, SessionSettings
from relevo.smtp.states import NEXT, State, Verb
from unit.smtp.driver import SETTINGS, Answer, Driver, accept, codes, merged, refusing

PIECES = [
    b"EHLO cli\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n",
    b"MAIL FROM:<> BODY=BINARYMIME SIZE=7\r\n", b"MAIL FROM:<a@b> SIZE=99999\r\n", b"DATA\r\n",
    b"BDAT 5\r\nab\r\nc", b"BDAT 4 LAST\r\nd\r\ne", b"BDAT 3\r\nx\r\r", b"BDAT 1 LAST\r\n\n",
    b"BDAT 40 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT x\r\n", b"line\r\n", b"..\r\n", b".\r\n",
    b".x\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"\r\n.\n", b"\n.\r\n", b"\r\n.\r", b"\0\xff",
    b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"AGEAYg==\r\n",
    b"AUTH PLAIN AGEAYg==\r\n", b"*\r\n", b"GET / HTTP/1.1\r\n", b"VRFY x\r\n", b"FOO\r\n",
    b"XCLIENT ADDR=192.0.2.9 PORT=25\r\n", b"XCLIENT ADDR=x LOGIN=y\r\n",
    b"x" * 60 + b"\r\n", b"MAIL FROM:<a@b>\n", b"NOOP " + b"n" * 4100 + b"\r\n",
]  # fmt: skip
streams = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join),
    st.lists(st.sampled_from(PIECES), max_size=15).map(
        lambda pieces: b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + b"".join(pieces)
    ),
)
LISTENERS = [
    SessionSettings(
        hostname="mx.test", max_size=100, offers_binarymime=True, max_errors=6, offers_xclient=True
    ),
    SessionSettings(hostname="mx.test", max_size=12, max_errors=50, offers_starttls=True),
    SessionSettings(hostname="mx.test", max_size=0, mechanisms=("PLAIN",), requires_auth=True),
    SessionSettings(hostname="mx.test", max_size=50, is_lmtp=True, offers_dsn=False),
]


def run(
    listener: SessionSettings, reads: list[bytes], *, is_tls: bool, answer: Answer = accept
) -> tuple[list[Event], bytes, State, int]:
    driver = Driver(listener, is_tls=is_tls, answer=answer)
    for read in reads:
        driver.feed(read)
    session = driver.session
    return merged(driver.events), driver.output, session.state, session.errors


ANSWERS: list[Answer] = [accept, refusing(MessageEnd, 451, "4.3.0"), refusing(BodyStart, 550)]


@given(st.sampled_from(LISTENERS), streams, st.booleans(), st.sampled_from(ANSWERS), st.data())
@settings(max_examples=3 * settings().max_examples)
def test_any_cutting_gives_the_same_events_and_output(
    listener: SessionSettings, stream: bytes, is_tls: bool, answer: Answer, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    # What comes behind STARTTLS in clear is dropped, whenever it comes: no cutting may matter.
    whole = run(listener, [stream], is_tls=is_tls, answer=answer)
    assert run(listener, reads, is_tls=is_tls, answer=answer) == whole


@given(st.sampled_from(LISTENERS), streams, st.booleans())
def test_octet_by_octet_is_as_at_once(
    listener: SessionSettings, stream: bytes, is_tls: bool
) -> None:
    octets = [stream[index : index + 1] for index in range(min(len(stream), 1500))]
    assert run(listener, octets, is_tls=is_tls) == run(listener, [b"".join(octets)], is_tls=is_tls)


@given(
    st.sampled_from(LISTENERS),
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(PIECES)), max_size=12),
    st.booleans(),
)
def test_no_octets_raise_and_every_reply_is_well_formed(
    listener: SessionSettings, reads: list[bytes], is_tls: bool
) -> None:
    driver = Driver(listener, is_tls=is_tls)
    for read in reads:
        driver.feed(read)
    driver.session.receive_eof()
    driver.pump()
    assert driver.session.is_closing
    assert driver.session.buffered == 0
    for line in driver.output.split(b"\r\n"):
        assert len(line) <= 510
        assert not any(octet < 32 or octet == 127 for octet in line)


REACH: dict[State, bytes] = {
    State.GREETED: b"",
    State.READY: b"EHLO c\r\n",
    State.MAIL: b"EHLO c\r\nMAIL FROM:<a@b>\r\n",
    State.RCPT: b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    State.BDAT: b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nx",
}
WRITTEN: dict[Verb, bytes] = {
    Verb.HELO: b"HELO c",
    Verb.EHLO: b"EHLO c",
    Verb.LHLO: b"LHLO c",
    Verb.MAIL: b"MAIL FROM:<x@y>",
    Verb.RCPT: b"RCPT TO:<x@y>",
    Verb.BDAT: b"BDAT 0",
    Verb.XCLIENT: b"XCLIENT PORT=1",
}
STATELESS = {Verb.NOOP, Verb.HELP, Verb.VRFY, Verb.EXPN}


@given(st.sampled_from(sorted(REACH, key=lambda state: state.value)), st.sampled_from(list(Verb)))
def test_a_command_moves_the_state_by_the_table_or_is_out_of_sequence(
    state: State, verb: Verb
) -> None:
    driver = Driver(replace(SETTINGS, offers_xclient=True))
    driver.feed(REACH[state])
    assert driver.session.state is state
    replies = driver.feed(WRITTEN.get(verb, verb.value.encode()) + b"\r\n")
    if verb is Verb.QUIT:
        assert (replies, driver.session.state) == ([221], State.CLOSED)
    elif verb is Verb.LHLO:
        assert (replies, driver.session.state) == ([500], state)
    elif verb in STATELESS:
        assert driver.session.state is state
    elif verb is Verb.AUTH or verb not in NEXT[state]:  # AUTH: these sessions have no TLS
        assert replies == [503]
        assert driver.session.state is state
        assert not driver.violations[0].closes
    else:
        assert replies[0] < 400
        assert driver.session.state is NEXT[state][verb]


@given(st.text(max_size=1200), st.integers(400, 599))
def test_no_text_breaks_a_reply(text: str, code: int) -> None:
    session = ServerSession(SETTINGS)
    session.greet()
    session.take_output()
    session.receive(b"EHLO c\r\nMAIL FROM:<>\r\n")
    session.next_event()
    session.reply(250, "", text)
    session.next_event()
    session.reply(code, "4.0.0", text)
    output = session.take_output()
    assert codes(output) == [250, code]
    for line in output.split(b"\r\n"):
        assert len(line) <= 510
        line.decode()
        assert not any(octet < 32 or octet == 127 for octet in line)


def test_events_of_a_dropped_transaction_do_not_depend_on_the_cutting() -> None:
    assert merged([Chunk(b"a"), Chunk(b"b"), Reset()]) == [Reset()]
    violation = Violation("DATA", 521, "5.5.2", "", resets=True, closes=True)
    assert merged([Chunk(b"a"), violation]) == [violation]
