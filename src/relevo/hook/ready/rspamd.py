"""rspamd judges each message, over HTTP: its actions become verdicts.

| action | what happens |
|---|---|
| no action, greylist | accepted |
| add header | accepted, with X-Spam: Yes and the tag `spam` |
| rewrite subject | the same, and a new Subject |
| soft reject | refused for now |
| reject | refused for good, or held where `reject = "quarantine"` |
| quarantine | held |
| discard | dropped |

Header fields that its modules add or remove are added and removed; every message gets
X-Spam-Score. Mail of users who have logged in is judged too, with their name, unless `users` is
false.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from relevo.hook import (
    HeaderField,
    Message,
    PostDataContext,
    PostDataVerdict,
    Reject,
    Settings,
    TempFail,
    secret,
    settings,
)
from relevo.hook.ready.http_post import post
from relevo.hook.ready.peers import PeerFailed

_OURS = ("X-Spam", "X-Spam-Score")
_MAX_FIELDS = 100


class RspamdSettings(Settings, frozen=True):
    """`url`: of a normal worker, or of a proxy that scans itself. `timeout`: seconds."""

    url: str = "http://127.0.0.1:11333"
    timeout: float = 10.0
    password_file: str = ""
    reject: Literal["reject", "quarantine", "tag"] = "reject"
    subject: str = "[spam] %s"
    users: bool = True


class Milter(msgspec.Struct):
    """What modules want changed, by field name; values have several forms."""

    add_headers: dict[str, object] = {}
    remove_headers: dict[str, object] = {}


class Result(msgspec.Struct, rename={"signature": "dkim-signature"}):
    """The part of the answer that is of use here."""

    action: str
    score: float = 0.0
    required_score: float | None = None
    subject: str = ""
    messages: dict[str, object] = {}
    milter: Milter = msgspec.field(default_factory=Milter)
    signature: str | list[str] = ""


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    chosen = settings(RspamdSettings)
    if context.auth and not chosen.users:
        return None
    result = await _ask(chosen, message, context)
    return verdict(chosen, message, result)


async def _ask(chosen: RspamdSettings, message: Message, context: PostDataContext) -> Result:
    headers = {
        "IP": context.client.ip,
        "Helo": context.client.hello_name,
        "From": context.reverse_path.strip("<>"),
        "Rcpt": ", ".join(context.forward_paths),
        "Queue-Id": context.message_id,
        "Content-Type": "text/plain",
    }
    if context.auth:
        headers["User"] = context.auth
    if context.tls is not None:
        headers |= {"TLS-Version": context.tls.version, "TLS-Cipher": context.tls.cipher}
    if chosen.password_file:
        headers["Password"] = secret(chosen.password_file)
    octets = message.octets.replace(b"\n", b"\r\n")
    url = f"{chosen.url.rstrip('/')}/checkv2"
    answer = await post(url, octets, headers, timeout_s=chosen.timeout)
    if answer.status != 200:
        raise PeerFailed(f"rspamd answers with status {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=Result)
    except msgspec.MsgspecError as error:
        raise PeerFailed(f"rspamd's answer cannot be read: {error}") from error


def verdict(chosen: RspamdSettings, message: Message, result: Result) -> PostDataVerdict:
    """What a result means. Raises Reject and TempFail."""
    said = result.messages.get("smtp_message")
    text = said if isinstance(said, str) else ""
    fields = [HeaderField("X-Spam-Score", f"{result.score:.2f}"), *_added(result)]
    changed = PostDataVerdict(
        text=text, add_headers=fields, remove_headers=[*_OURS, *result.milter.remove_headers]
    )
    match result.action:
        case "soft reject":
            raise TempFail(text or "Please come again later")
        case "reject" if chosen.reject == "reject":
            raise Reject(text or "The message looks like spam")
        case "discard":
            changed = PostDataVerdict("discard", text=text or "rspamd says discard")
        case "quarantine" | "reject" if chosen.reject != "tag" or result.action == "quarantine":
            changed.verdict, changed.tags = "quarantine", ["spam"]
            changed.text = text or f"rspamd says {result.action}"
        case "add header" | "rewrite subject" | "reject":
            fields.append(HeaderField("X-Spam", "Yes"))
            changed.tags = ["spam"]
            if result.action == "rewrite subject":
                subject = _subject(chosen, message, result)
                changed.replace_headers = [HeaderField("Subject", subject)]
        case _:
            pass  # no action, greylist
    return changed


def _subject(chosen: RspamdSettings, message: Message, result: Result) -> str:
    old = next((v for name, v in message.fields.raw_items() if name.lower() == "subject"), "")
    new = result.subject or chosen.subject.replace("%s", old)  # as encoded as it came
    return " ".join(new.split())


def _added(result: Result) -> list[HeaderField]:
    """The fields of modules: a value, `{"value": …}`, or a list of such."""
    found = []
    for name, given in result.milter.add_headers.items():
        for each in given if isinstance(given, list) else [given]:
            value = each.get("value") if isinstance(each, dict) else each
            if isinstance(value, str):
                found.append(HeaderField(name, _one_line(value)))
    signatures = [result.signature] if isinstance(result.signature, str) else result.signature
    found += [HeaderField("DKIM-Signature", _one_line(each)) for each in signatures if each]
    return found[:_MAX_FIELDS]


def _one_line(value: str) -> str:
    """Folding taken away, which no signature minds in relaxed form."""
    return value.replace("\r", "").replace("\n", "").replace("\t", " ").strip()
