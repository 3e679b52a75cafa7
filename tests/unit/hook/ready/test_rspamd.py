"""rspamd's actions as verdicts, and what it is told."""

from __future__ import annotations

import json

import pytest

from relevo.hook import HeaderField, Message, PostDataVerdict
from relevo.hook.ready.peers import PeerFailed
from relevo.hook.ready.rspamd import post_data
from relevo.hook.testing import RunHook
from unit.hook.ready.conftest import Serve, http

MESSAGE = "Subject: =?utf-8?q?h=C3=A9?=\nX-Spam: No\n\nbody-ends\n"


def ask(run_hook: RunHook, serve: Serve, result: object, **settings: object) -> PostDataVerdict:
    server = serve(http(json.dumps(result).encode()), until=b"body-ends")
    said = run_hook(
        post_data, MESSAGE, settings={"url": f"http://{server.target}", **settings}, auth="joe@x.y"
    )
    assert isinstance(said, PostDataVerdict)
    return said


@pytest.mark.parametrize(
    ("action", "settings", "verdict", "is_tagged"),
    [
        ("no action", {}, "accept", False),
        ("greylist", {}, "accept", False),
        ("add header", {}, "accept", True),
        ("rewrite subject", {}, "accept", True),
        ("soft reject", {}, "tempfail", False),
        ("reject", {}, "reject", False),
        ("reject", {"reject": "quarantine"}, "quarantine", True),
        ("reject", {"reject": "tag"}, "accept", True),
        ("quarantine", {"reject": "tag"}, "quarantine", True),
        ("discard", {}, "discard", False),
        ("an action of tomorrow", {}, "accept", False),
    ],
)
def test_actions(
    run_hook: RunHook, serve: Serve, action: str, settings: dict[str, str], verdict: str,
    is_tagged: bool,
) -> None:  # fmt: skip
    said = ask(run_hook, serve, {"action": action, "score": 7.5}, **settings)
    assert (said.verdict, said.tags) == (verdict, ["spam"] if is_tagged else [])
    if verdict == "accept":
        assert HeaderField("X-Spam-Score", "7.50") in said.add_headers
        assert (HeaderField("X-Spam", "Yes") in said.add_headers) is is_tagged
        assert "X-Spam" in said.remove_headers, "one that came with the message is forged"


def test_a_new_subject_keeps_its_encoding(run_hook: RunHook, serve: Serve) -> None:
    said = ask(run_hook, serve, {"action": "rewrite subject"})
    assert said.replace_headers == [HeaderField("Subject", "[spam] =?utf-8?q?h=C3=A9?=")]
    said = ask(run_hook, serve, {"action": "rewrite subject", "subject": "other"})
    assert said.replace_headers == [HeaderField("Subject", "other")]


def test_the_text_of_a_refusal_is_rspamd_s(run_hook: RunHook, serve: Serve) -> None:
    said = ask(run_hook, serve, {"action": "reject", "messages": {"smtp_message": "not you"}})
    assert said.text == "not you"


def test_fields_of_its_modules(run_hook: RunHook, serve: Serve) -> None:
    milter = {
        "add_headers": {
            "A": "1",
            "B": {"value": "2", "order": 0},
            "C": [{"value": "3"}, "4"],
            "D": 5,
        },
        "remove_headers": {"E": 0},
    }
    result = {"action": "no action", "milter": milter, "dkim-signature": "v=1;\r\n\tb=x"}
    said = ask(run_hook, serve, result)
    found = [(field.name, field.value) for field in said.add_headers[1:]]
    assert found == [("A", "1"), ("B", "2"), ("C", "3"), ("C", "4"), ("DKIM-Signature", "v=1; b=x")]
    assert "E" in said.remove_headers


def test_what_it_is_told(run_hook: RunHook, serve: Serve, tmp_path: object) -> None:
    server = serve(http(b'{"action": "no action"}'), until=b"body-ends")
    (run_hook.folder / "password").write_text("p\n")
    run_hook(
        post_data,
        MESSAGE,
        settings={
            "url": f"http://{server.target}/",
            "password_file": str(run_hook.folder / "password"),
        },
        reverse_path="<>",
        forward_paths=("a@b.c", "d@e.f"),
        auth="joe@x.y",
    )
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /checkv2 HTTP/1.1"
    assert {"From: ", "Rcpt: a@b.c, d@e.f", "User: joe@x.y", "Password: p"} <= set(lines)
    assert body == Message(MESSAGE.encode()).octets.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    "answer", [http(b"", "403 Forbidden"), http(b"[]"), http(b'{"score": 1}'), b"", b"junk\r\n\r\n"]
)
def test_no_answer_is_a_failure(run_hook: RunHook, serve: Serve, answer: bytes) -> None:
    server = serve(answer, until=b"body-ends")
    with pytest.raises(PeerFailed):
        run_hook(post_data, MESSAGE, settings={"url": f"http://{server.target}"})


def test_mail_of_users_may_be_left_alone(run_hook: RunHook) -> None:
    settings = {"url": "http://127.0.0.1:1", "users": False}
    assert run_hook(post_data, MESSAGE, settings=settings, auth="joe@x.y") == PostDataVerdict()
