"""SpamAssassin judges each message of a stranger, by the protocol of spamd.

Every message gets X-Spam-Score and X-Spam-Status, spam also X-Spam: Yes and the tag `spam`. From
`reject_above` points on it is refused, from `quarantine_above` on it is held.
"""

from __future__ import annotations

import re

from relevo.hook import (
    HeaderField,
    Message,
    PostDataContext,
    PostDataVerdict,
    Reject,
    Settings,
    settings,
)
from relevo.hook.ready.peers import PeerFailed, ask

_OURS = ["X-Spam", "X-Spam-Score", "X-Spam-Status"]
_SPAM = re.compile(rb"(?im)^Spam: *(True|False) *; *(-?[\d.]+) */ *(-?[\d.]+)\r?$")
_MAX_RULES = 50


class SpamassassinSettings(Settings, frozen=True):
    """`target`: of spamd, `unix:/PATH` or `HOST:PORT`.

    `max_size`: larger messages are not shown. The two thresholds are points; 0: never.
    """

    target: str = "127.0.0.1:783"
    timeout: float = 25.0
    user: str = ""
    max_size: int = 512 * 1024
    reject_above: float = 0.0
    quarantine_above: float = 0.0
    users: bool = False


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    chosen = settings(SpamassassinSettings)
    if (context.auth and not chosen.users) or len(message.octets) > chosen.max_size:
        return None
    head = f"SYMBOLS SPAMC/1.5\r\nContent-length: {len(message.octets)}\r\n"
    if chosen.user:
        head += f"User: {chosen.user}\r\n"
    question = f"{head}\r\n".encode() + message.octets
    said = await ask(chosen.target, question, timeout_s=chosen.timeout, is_end_said=True)
    return verdict(chosen, said)


def verdict(chosen: SpamassassinSettings, said: bytes) -> PostDataVerdict:
    """What spamd's answer means. Raises Reject, and PeerFailed where it is none."""
    head, _, body = said.partition(b"\r\n\r\n")
    found = _SPAM.search(head)
    if not re.match(rb"SPAMD/\S+ 0 ", head) or found is None:
        raise PeerFailed(f"spamd answers {head[:100]!r}")
    is_spam, score, required = found[1].lower() == b"true", float(found[2]), float(found[3])
    if chosen.reject_above and score >= chosen.reject_above:
        raise Reject("The message looks like spam")
    rules = re.findall(r"[A-Za-z0-9_]+", body.decode("latin-1"))[:_MAX_RULES]
    status = f"{'Yes' if is_spam else 'No'}, score={score:g} required={required:g}"
    answer = PostDataVerdict(
        add_headers=[
            HeaderField("X-Spam-Score", f"{score:g}"),
            HeaderField("X-Spam-Status", f"{status} tests={','.join(rules) or 'none'}"),
        ],
        remove_headers=_OURS,
    )
    if is_spam:
        answer.add_headers.append(HeaderField("X-Spam", "Yes"))
        answer.tags = ["spam"]
    if chosen.quarantine_above and score >= chosen.quarantine_above:
        answer.verdict, answer.text = "quarantine", f"spam, {score:g} points"
    return answer
