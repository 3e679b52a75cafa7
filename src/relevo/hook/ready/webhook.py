"""Posts each message, taken apart, as JSON to a URL of yours.

```json
{
  "message_id": "…", "context": { … as at post-data … },
  "headers": [["Subject", "hello"], …], "subject": "hello", "from": "…", "to": "…", "date": "…",
  "text": "…", "html": "…",
  "attachments": [{"name": "a.pdf", "type": "application/pdf", "size": 1234, "content_b64": "…"}]
}
```

With `secret_file` the request is signed as those of the form `http` are: `Relevo-Timestamp`, and
`Relevo-Signature: sha256=HEX` with the HMAC-SHA256 over the timestamp, a full stop and the body.
Any status but 2xx is a failure. The message is accepted only after this: who gets 4xx comes again,
and the same mail is posted again under another id, so go by the Message-ID of its header.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from email.message import EmailMessage
from typing import Any

import msgspec

from relevo.hook import (
    Message,
    PostDataContext,
    PostDataVerdict,
    Settings,
    secret,
    settings,
)
from relevo.hook.ready.http_post import post
from relevo.hook.ready.peers import PeerFailed

_MAX_PARTS = 1000


class WebhookSettings(Settings, frozen=True):
    """`contents`: whether attachments are sent, and not only named.

    `recipients`: only mail for one of them is posted; none: all mail.
    """

    url: str
    secret_file: str = ""
    timeout: float = 10.0
    contents: bool = True
    recipients: tuple[str, ...] = ()
    max_size: int = 10 * 1024 * 1024


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    chosen = settings(WebhookSettings)
    if chosen.recipients and not set(chosen.recipients) & set(context.forward_paths):
        return None
    if len(message.octets) > chosen.max_size:
        raise PeerFailed(f"the message has {len(message.octets)} octets, more than max_size")
    body = msgspec.json.encode(taken_apart(message, context, has_contents=chosen.contents))
    headers = {"Content-Type": "application/json"}
    if chosen.secret_file:
        headers |= signed(secret(chosen.secret_file), body, now=time.time())
    answer = await post(chosen.url, body, headers, timeout_s=chosen.timeout)
    if not 200 <= answer.status < 300:
        raise PeerFailed(f"the webhook answers with status {answer.status}")
    return None


def signed(key: str, body: bytes, *, now: float) -> dict[str, str]:
    """The two fields of a signature."""
    stamp = str(int(now))
    digest = hmac.digest(key.encode(), stamp.encode() + b"." + body, hashlib.sha256)
    return {"Relevo-Timestamp": stamp, "Relevo-Signature": f"sha256={digest.hex()}"}


def taken_apart(
    message: Message, context: PostDataContext, *, has_contents: bool
) -> dict[str, object]:
    """The message as an object for JSON."""
    parsed = message.parsed
    headers = [(name, _plain(value)) for name, value in parsed.items()]
    named = {name.lower(): value for name, value in reversed(headers)}
    texts = {"text/plain": "", "text/html": ""}
    attachments = []
    for part in _leaves(parsed):
        kind = part.get_content_type()
        octets = _octets(part)
        if kind in texts and not texts[kind] and part.get_content_disposition() != "attachment":
            texts[kind] = _text(octets, part)
            continue
        entry = {"name": part.get_filename() or "", "type": kind, "size": len(octets)}
        content = {"content_b64": base64.b64encode(octets).decode()} if has_contents else {}
        attachments.append(entry | content)
    return {
        "message_id": context.message_id,
        "context": context,
        "headers": headers,
        **{name: named.get(name, "") for name in ("subject", "from", "to", "date")},
        "text": texts["text/plain"],
        "html": texts["text/html"],
        "attachments": attachments,
    }


def _leaves(parsed: EmailMessage) -> list[Any]:
    found = []
    for number, part in enumerate(parsed.walk()):
        if number >= _MAX_PARTS:
            break
        if not part.is_multipart():
            found.append(part)
    return found


def _octets(part: EmailMessage) -> bytes:
    octets = part.get_payload(decode=True)
    return octets if isinstance(octets, bytes) else b""


def _text(octets: bytes, part: EmailMessage) -> str:
    """By the charset that the part names, where there is such a one."""
    try:
        return octets.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def _plain(value: object) -> str:
    """Without what is no Unicode: such octets have U+FFFD in their place."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
