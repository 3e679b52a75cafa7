"""Messages as JSON: taken apart whatever they hold, signed, and posted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest

from relevo.hook import Message, PostDataVerdict, example
from relevo.hook.ready.peers import PeerFailed
from relevo.hook.ready.webhook import post_data, taken_apart
from relevo.hook.testing import RunHook
from unit.hook.ready.conftest import Serve, http

MIXED = b"""\
From: =?utf-8?q?J=C3=B6?= <j@r.test>
To: u@d1.test
Subject: =?utf-8?q?h=C3=A9?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=latin-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: text/html

<p>x</p>
--b
Content-Type: application/pdf; name="a.pdf"
Content-Transfer-Encoding: base64

aGVsbG8=
--b--
"""


def apart(octets: bytes, *, has_contents: bool = True) -> Any:
    told = taken_apart(Message(octets), example("post-data"), has_contents=has_contents)
    return json.loads(msgspec.json.encode(told))


def test_parts_have_their_places() -> None:
    told = apart(MIXED)
    assert (told["subject"], told["from"]) == ("hé", "Jö <j@r.test>")
    assert (told["text"].strip(), told["html"].strip()) == ("café", "<p>x</p>")
    assert told["attachments"] == [
        {"name": "a.pdf", "type": "application/pdf", "size": 5, "content_b64": "aGVsbG8="}
    ]
    assert told["context"]["forward_paths"] == ["info@example.org"]
    assert "content_b64" not in apart(MIXED, has_contents=False)["attachments"][0]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n\n",
        b"Subject: \xff\xfe\n\n\xff",
        b"Content-Type: text/plain; charset=no-such\n\nx\xff",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n" * 50,
        b"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n\nx",
        b"Content-Transfer-Encoding: base64\n\n!!!",
        b"From: <<<>>>\nTo: =?x?q?y?=\nDate: never\nContent-Disposition: ;;\n\n",
    ],
)
def test_whatever_a_stranger_sends_is_taken_apart(octets: bytes) -> None:
    assert isinstance(apart(octets)["headers"], list)


def test_it_is_posted_and_signed(run_hook: RunHook, serve: Serve) -> None:
    server = serve(http(b"", "204 No Content"), until=b"Hello.\\n")
    (run_hook.folder / "secret").write_text("key\n")
    settings = {
        "url": f"http://{server.target}/x",
        "secret_file": str(run_hook.folder / "secret"),
    }
    assert run_hook(post_data, settings=settings) == PostDataVerdict()
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    digest = hmac.digest(b"key", f"{fields['Relevo-Timestamp']}.".encode() + body, hashlib.sha256)
    assert fields["Relevo-Signature"] == f"sha256={digest.hex()}"
    assert json.loads(body)["text"] == "Hello.\n"


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "500 Oh"])
def test_any_other_status_is_a_failure(run_hook: RunHook, serve: Serve, status: str) -> None:
    server = serve(http(b"", status), until=b"Hello.\\n")
    with pytest.raises(PeerFailed, match=status[:3]):
        run_hook(post_data, settings={"url": f"http://{server.target}/"})


def test_only_mail_for_some(run_hook: RunHook) -> None:
    settings = {"url": "http://127.0.0.1:1/", "recipients": ["orders@d1.test"]}
    assert run_hook(post_data, settings=settings) == PostDataVerdict()
    with pytest.raises(PeerFailed):
        run_hook(post_data, settings=settings, forward_paths=("orders@d1.test",))


def test_contents_are_whole() -> None:
    told = apart(b"Content-Type: application/x\n\n" + b"\xff\0" * 5000)
    assert base64.b64decode(told["attachments"][0]["content_b64"]) == b"\xff\0" * 5000
