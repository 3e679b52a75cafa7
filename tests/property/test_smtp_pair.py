"""Client and server joined back to back deliver exactly what was sent; stuffing has an inverse."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.smtp.buffer import InputBuffer
from relevo.smtp.client import ClientSession
from relevo.smtp.client_events import (
    ClientEvent,
    ClientSettings,
    Failed,
    Greeted,
    HelloAccepted,
    Outgoing,
    OutgoingRecipient,
    Sent,
    Step,
)
from relevo.smtp.events import (
    BodyType,
    Chunk,
    Event,
    Mail,
    MailParameters,
    MessageEnd,
    Notify,
    Path,
    Rcpt,
    RcptParameters,
    Ret,
)
from relevo.smtp.framing import DataReader, Status, stuff
from relevo.smtp.outgoing_body import chunked, stuffed
from relevo.smtp.server import ServerSession, SessionSettings
from unit.smtp.driver import accept

LINE = st.one_of(
    st.sampled_from([b"", b".", b"..", b".x", b"x" * 200, b"\xc3\xa9", b"\0"]),
    st.binary(max_size=30).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")),
)
bodies = st.lists(LINE, max_size=12).map(lambda lines: b"".join(line + b"\r\n" for line in lines))


@st.composite
def cut(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(octets)), max_size=6)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


@given(bodies, st.data())
def test_unstuffing_takes_back_stuffing(body: bytes, data: st.DataObject) -> None:
    wire = b"".join(octets for octets, _ in stuffed(data.draw(cut(body))))
    assert wire == stuff(body)
    buffer, reader, got = InputBuffer(), DataReader(0), b""
    status = Status.OPEN
    for read in data.draw(cut(wire + b"NOOP\r\n")):
        buffer.append(read)
        while status is Status.OPEN and buffer:
            piece, status = reader.read(buffer)
            got += piece
            if not piece:
                break
    assert status is Status.COMPLETE
    assert (got, reader.wire_size) == (body, len(wire))
    assert buffer.take(len(buffer)) == b"NOOP\r\n"


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_chunks_hold_the_body(pieces: list[bytes]) -> None:
    wire = b"".join(octets for octets, _ in chunked(pieces, is_binary=True))
    head, _, rest = wire.partition(b"\r\n")
    assert head == b"BDAT %d LAST" % len(rest)
    assert rest == b"".join(pieces)


class Pair:
    """The two sessions, with what arrived at the server."""

    def __init__(self, client: ClientSettings, server: SessionSettings) -> None:
        self.client = ClientSession(client)
        self.server = ServerSession(server)
        self.client_events: list[ClientEvent] = []
        self.server_events: list[Event] = []
        self.body = b""
        self.server.greet()
        self.run()

    def run(self) -> None:
        """Until nothing moves any more."""
        while any([self._to_client(), self._to_server()]):
            pass

    def _to_client(self) -> bool:
        while (event := self.server.next_event()) is not None:
            self.server_events.append(event)
            if isinstance(event, Chunk):
                self.body += event.data
            if isinstance(event, MessageEnd) and self.server.settings.is_lmtp:
                count = self.server.accepted_recipients
                self.server.reply_recipients([(250, "2.0.0", f"r{n}") for n in range(count)])
            elif isinstance(event, Rcpt) and event.path.local == "unknown":
                self.server.reply(550, "5.1.1", "unknown")
            else:
                accept(self.server, event)
        output = self.server.take_output()
        self.client.receive(output)
        has_moved = bool(output)
        while (said := self.client.next_event()) is not None:
            self.client_events.append(said)
            assert not isinstance(said, Failed), said
            has_moved = True
            if isinstance(said, Greeted):
                self.client.hello()
        return has_moved

    def _to_server(self) -> bool:
        output = self.client.take_output()
        self.server.receive(output)
        return bool(output)


# A local part of every kind: Dot-string, such as must be quoted, and UTF-8.
text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)
locals_ = st.one_of(st.sampled_from(["a", "a.b", "unknown", "a b", 'q"\\', "a@b", "ñ", "-x"]), text)
domains = st.sampled_from(["d.test", "ñandú.test", "xn--abc.test", "[127.0.0.1]", "[IPv6:::1]"])
paths = st.builds(Path, locals_, domains)
mail_parameters = st.builds(
    MailParameters,
    size=st.none() | st.integers(0, 10**6),
    body=st.sampled_from([None, BodyType.SEVEN_BIT, BodyType.EIGHT_BIT_MIME]),
    smtputf8=st.booleans(),
    ret=st.none() | st.sampled_from(Ret),
    envid=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1,
                              max_size=30),
)  # fmt: skip
rcpt_parameters = st.builds(
    RcptParameters,
    notify=st.sampled_from(
        [frozenset(), frozenset({Notify.NEVER}), frozenset({Notify.DELAY, Notify.FAILURE})]
    ),
    orcpt=st.none() | st.sampled_from(["rfc822;a+b=c@d", "utf-8;ñ@d\\e", "x400;/c=x/"]),
)
recipients = st.lists(st.builds(OutgoingRecipient, paths, rcpt_parameters), min_size=1, max_size=4)


@given(
    st.just(Path("", "")) | paths,
    mail_parameters,
    recipients,
    bodies,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.data(),
)
@settings(max_examples=3 * settings().max_examples)
def test_what_is_sent_arrives(
    reverse_path: Path,
    parameters: MailParameters,
    to: list[OutgoingRecipient],
    body: bytes,
    pipelines: bool,
    chunks: bool,
    is_lmtp: bool,
    data: st.DataObject,
) -> None:
    pair = Pair(
        ClientSettings(
            hello_name="cli", is_lmtp=is_lmtp, uses_pipelining=pipelines, uses_chunking=chunks
        ),
        SessionSettings(hostname="mx.test", max_size=10**6, is_lmtp=is_lmtp),
    )
    assert any(isinstance(event, HelloAccepted) for event in pair.client_events)
    for _ in range(2):  # the second on the same connection
        pair.body = b""
        pair.server_events.clear()
        pieces: Iterator[bytes] = iter(data.draw(cut(body)))
        pair.client.send(Outgoing(reverse_path, tuple(to), pieces, parameters))
        pair.run()
        sent = pair.client_events[-1]
        assert isinstance(sent, Sent)
        expected = [recipient.path.local != "unknown" for recipient in to]
        assert [result.is_accepted for result in sent.results] == expected
        assert [e for e in pair.server_events if isinstance(e, Mail)] == [
            Mail(reverse_path, parameters)
        ]
        assert [e for e in pair.server_events if isinstance(e, Rcpt)] == [
            Rcpt(recipient.path, recipient.parameters) for recipient in to
        ]
        assert pair.body == (body if any(expected) else b"")
        if is_lmtp:
            accepted = [r.reply.text for r in sent.results if r.step is Step.END]
            assert accepted == [f"r{n}" for n in range(len(accepted))]
    pair.client.quit()
    pair.run()
    assert pair.client.is_closing
    assert pair.server.is_closing


@given(st.lists(st.binary(max_size=80), max_size=10))
def test_no_octets_raise_in_the_client(reads: list[bytes]) -> None:
    client = ClientSession(ClientSettings(hello_name="cli"))
    for read in reads:
        client.receive(read)
        while client.next_event() is not None:
            pass
    client.receive_eof()
    while client.next_event() is not None:
        pass
    assert client.is_closing


SAYINGS = [
    b"220 mx\r\n", b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", b"250 ok\r\n", b"250-more\r\n",
    b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"334 \r\n", b"235 in\r\n", b"503 what\r\n",
    b"junk\r\n", b"250", b" ok\n", b"\r\n", b"x" * 5000,
]  # fmt: skip


def run_client(
    reads: list[bytes], *, chunks: bool, size: int | None
) -> tuple[list[ClientEvent], bytes]:
    """A shell that sends one message, then quits."""
    client = ClientSession(ClientSettings(hello_name="cli", uses_chunking=chunks))
    events: list[ClientEvent] = []
    output = b""
    for read in reads:
        client.receive(read)
        while (event := client.next_event()) is not None:
            events.append(event)
            match event:
                case Greeted():
                    client.hello()
                case HelloAccepted():
                    to = (OutgoingRecipient(Path("c", "d")), OutgoingRecipient(Path("e", "f")))
                    parameters = MailParameters(size=size)
                    client.send(Outgoing(Path("a", "b"), to, [b".x\r\n"], parameters))
                case Sent() if not client.is_closing:
                    client.quit()
                case _:
                    pass
            while piece := client.take_output():
                output += piece
        while piece := client.take_output():
            output += piece
    return events, output


@given(
    st.lists(st.sampled_from(SAYINGS), max_size=12),
    st.booleans(),
    st.sampled_from([None, 4]),
    st.data(),
)
def test_replies_octet_by_octet_are_as_line_by_line(
    sayings: list[bytes], chunks: bool, size: int | None, data: st.DataObject
) -> None:
    stream = (SAYINGS[0] + SAYINGS[1] if data.draw(st.booleans()) else b"") + b"".join(sayings)
    lines = stream.splitlines(keepends=True)
    octets = [stream[index : index + 1] for index in range(len(stream))]
    by_octet = run_client(octets, chunks=chunks, size=size)
    assert by_octet == run_client(lines, chunks=chunks, size=size)
