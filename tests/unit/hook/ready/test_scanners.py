"""SpamAssassin and ClamAV: their answers as verdicts, and their protocols."""

from __future__ import annotations

import pytest

from relevo.hook import HeaderField, PostDataVerdict
from relevo.hook.ready import clamav, spamassassin
from relevo.hook.ready.peers import PeerFailed
from relevo.hook.testing import RunHook
from unit.hook.ready.conftest import Serve

SPAM = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 9\r\nSpam: True ; 8.5 / 5.0\r\n\r\nRULE_A,B\r\n"
HAM = b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; -0.1 / 5.0\r\n\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "settings", "verdict", "fields"),
    [
        (HAM, {}, "accept", ["-0.1", "No, score=-0.1 required=5 tests=none"]),
        (SPAM, {}, "accept", ["8.5", "Yes, score=8.5 required=5 tests=RULE_A,B", "Yes"]),
        (SPAM, {"quarantine_above": 8.5}, "quarantine",
         ["8.5", "Yes, score=8.5 required=5 tests=RULE_A,B", "Yes"]),
        (SPAM, {"quarantine_above": 6.0, "reject_above": 8.0}, "reject", []),
    ],
)  # fmt: skip
def test_spamd(
    run_hook: RunHook, serve: Serve, answer: bytes, settings: dict[str, object], verdict: str,
    fields: list[str],
) -> None:  # fmt: skip
    server = serve(answer)
    message = "A: b\n\nx\n"
    said = run_hook(
        spamassassin.post_data, message, settings={"target": server.target, "user": "u", **settings}
    )
    assert (said.verdict, [field.value for field in said.add_headers]) == (verdict, fields)
    assert server.asked == [b"SYMBOLS SPAMC/1.5\r\nContent-length: 8\r\nUser: u\r\n\r\nA: b\n\nx\n"]


@pytest.mark.parametrize(
    "answer", [b"", b"SPAMD/1.0 76 Bad header\r\n\r\n", b"SPAMD/1.1 0 EX_OK\r\n\r\n"]
)
def test_spamd_that_does_not_judge(run_hook: RunHook, serve: Serve, answer: bytes) -> None:
    with pytest.raises(PeerFailed, match="spamd answers"):
        run_hook(spamassassin.post_data, settings={"target": serve(answer).target})


@pytest.mark.parametrize(
    ("answer", "found", "verdict", "text"),
    [
        (b"stream: OK\0", "reject", "accept", ""),
        (b"stream: Eicar-Test FOUND\0", "reject", "reject", "The message has a virus (Eicar-Test)"),
        (b"stream: Eicar-Test FOUND\0", "quarantine", "quarantine", "virus Eicar-Test"),
    ],
)
def test_clamd(
    run_hook: RunHook, serve: Serve, answer: bytes, found: str, verdict: str, text: str
) -> None:
    server = serve(answer, until=bytes(4))
    said = run_hook(
        clamav.post_data, "A: b\n\nx\n", settings={"target": server.target, "found": found}
    )
    assert (said.verdict, said.text) == (verdict, text)
    if verdict != "reject":
        assert said.add_headers == [HeaderField("X-Virus-Scanned", "ClamAV")]
    assert server.asked == [b"zINSTREAM\0\0\0\0\x08A: b\n\nx\n\0\0\0\0"]


@pytest.mark.parametrize("answer", [b"", b"INSTREAM size limit exceeded. ERROR\0", b"stream: x"])
def test_clamd_that_cannot_look(run_hook: RunHook, serve: Serve, answer: bytes) -> None:
    server = serve(answer, until=bytes(4))
    with pytest.raises(PeerFailed, match="clamd answers"):
        run_hook(clamav.post_data, "A: b\n\nx\n", settings={"target": server.target})


def test_pieces_of_a_large_message_are_whole() -> None:
    octets = bytes(range(256)) * 10_000
    asked = clamav.instream(octets).removeprefix(b"zINSTREAM\0")
    found = b""
    while size := int.from_bytes(asked[:4], "big"):
        found, asked = found + asked[4 : 4 + size], asked[4 + size :]
    assert (found, asked) == (octets, bytes(4))


def test_what_is_too_large_is_not_shown(run_hook: RunHook) -> None:
    settings = {"target": "127.0.0.1:1", "max_size": 3}
    for hook in (clamav.post_data, spamassassin.post_data):
        assert run_hook(hook, settings=settings) == PostDataVerdict()
