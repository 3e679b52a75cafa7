"""What is kept of mail: all of it, or without what is private."""

from __future__ import annotations

import pytest

from relevo.hooks.contract import Accept, Changes, Client, Discard, PostDataContext, Refuse, Stage
from relevo.hooks.contract.contexts import MailContext
from relevo.hooks.post_data import HookMessage
from relevo.hooks.steps import Step
from relevo.hooks.trials.kept import redacted
from relevo.hooks.trials.records import decode_kept, encode_kept
from relevo.hooks.trials.seen import Question, Seen

PARTS = (
    b'Subject: Secret\r\nContent-Type: multipart/mixed; boundary="cut here"\r\n\r\n'
    b"--cut here\r\nContent-Type: text/plain\r\n\r\nPIN 4711, M\xc3\xbcller\r\n"
    b"--not a boundary\r\n--cut here--\r\n"
)


def test_of_the_text_only_its_shape_stays() -> None:
    kept = redacted(PARTS, "text")
    assert len(kept) == len(PARTS)
    assert kept == (
        b'Subject: Secret\r\nContent-Type: multipart/mixed; boundary="cut here"\r\n\r\n'
        b"--cut here\r\nxxxxxxx-xxxx: xxxx/xxxxx\r\n\r\nxxx 9999, xxxxxxx\r\n"
        b"--xxx x xxxxxxxx\r\n--cut here--\r\n"
    )


def test_a_message_without_its_body() -> None:
    head = PARTS[: PARTS.index(b"\r\n\r\n") + 2]
    assert redacted(PARTS, "bodies") == head + b"\r\n"
    assert redacted(b"Subject: no body\r\n", "bodies") == b"Subject: no body\r\n\r\n"


@pytest.mark.parametrize(
    "question",
    [
        Question(
            Stage.POST_DATA,
            PostDataContext(
                message_id="id",
                client=Client.of("192.0.2.7:4711", "h\udcff"),
                reverse_path="a@b",
                forward_paths=("c@d",),
            ),
            HookMessage(b"A: b\r\n\r\n\xff\x00"),
            "h\udcff",
        ),
        Question(
            Stage.MAIL,
            MailContext(client=Client("::1", 1, ""), listener="SMTP", reverse_path="<>"),
        ),
    ],
)
def test_what_was_kept_is_read_as_it_was(question: Question) -> None:
    steps = (
        Step("a", "a", "v", Accept(Changes(body=b"\xff", tags=("t",), reverse_path=""))),
        Step("b", "c", "", Refuse(554, "5.7.1", "no"), "exit status 1"),
        Step("d", "d", "", Discard("why")),
    )
    seen = Seen(12.5, question, steps)
    kept = decode_kept(12.5, encode_kept(seen, question.start, "text"))
    assert kept.seen == seen
    assert kept.redacted == "text"
