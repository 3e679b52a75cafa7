"""The Authentication-Results field (RFC 8601): ours to write, others' forgeries to remove.

Readers behind us believe what stands under our authserv-id. So every field of that name that
arrived is removed when it bears our id in any spelling, or one that cannot be read (RFC 8601 §5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from relevo.mail import InvalidAddress, normalize_domain
from relevo.mailauth.arc import ArcResult
from relevo.mailauth.comments import comment, quoted, value
from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import DmarcResult, Policy
from relevo.mailauth.spf import SpfIdentity, SpfResult
from relevo.value import dataclass

_NAME = b"authentication-results"
# a field with its continuations; group 1 is its raw value
_FIELD = re.compile(
    rb"^authentication-results[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)",
    re.MULTILINE | re.IGNORECASE,
)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_BARE = re.compile(rb"[^\s;()\"/]++")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method found: `spf`, `pass`, and a comment (RFC 8601 §2.2, resinfo).

    `reason` says why it is no pass; `properties` name what was looked at, as `header.d` and its
    value.
    """

    method: str
    result: str
    comment: str = ""
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def spf_method_result(result: SpfResult) -> MethodResult:
    """SPF's line, with the identity that was checked (RFC 8601 §2.7.2)."""
    name = "smtp.helo" if result.identity is SpfIdentity.HELO else "smtp.mailfrom"
    properties = ((name, result.domain),) if result.domain else ()
    return MethodResult("spf", result.outcome.value, result.reason, properties=properties)


_UNSIGNED = MethodResult("dkim", DkimOutcome.NONE.value)


def dkim_method_results(results: Sequence[DkimResult]) -> list[MethodResult]:
    """A line for each signature; one that says `none` where there is none (RFC 8601 §2.7.1)."""
    if not results:
        return [_UNSIGNED]
    return [
        MethodResult(
            "dkim",
            result.outcome.value,
            reason=result.reason,
            properties=tuple(
                (name, text)
                for name, text in (
                    ("header.b", result.signature_start),
                    ("header.d", result.domain),
                    ("header.s", result.selector),
                    ("header.a", result.algorithm),
                )
                if text
            ),
        )
        for result in results
    ]


def arc_method_result(result: ArcResult) -> MethodResult:
    """ARC's line (RFC 8617 §10.2)."""
    return MethodResult("arc", result.outcome.value, reason=result.reason)


def dmarc_method_result(result: DmarcResult, handling: Policy, forwarder: str) -> MethodResult:
    """DMARC's line (RFC 9989 §9): the policy, and in a comment what became of the message.

    `forwarder` is the trusted server that vouched for it, or "".
    """
    said = []
    if result.policy_tag:
        said.append(f"{result.policy_tag}={result.policy.value}")
        if result.record is not None and result.record.is_testing:
            said.append("t=y")
        if forwarder:
            said.append(f"{forwarder} vouches for it")
        elif handling is not Policy.NONE:
            said.append(f"handled as {handling.value}")
    properties = [("header.from", result.author_domain)] if result.author_domain else []
    if result.policy_tag:
        properties.append(("polrec.p", result.policy.value))
        if result.policy_domain != result.author_domain:
            properties.append(("polrec.domain", result.policy_domain))
    return MethodResult(
        "dmarc", result.outcome.value, ", ".join(said), result.reason, tuple(properties)
    )


def authentication_results_field(authserv_id: str, results: Sequence[MethodResult]) -> bytes:
    """The whole field, a line a result, CRLF line ends; without results it says `none`."""
    lines = [f"Authentication-Results: {value(authserv_id)}"]
    for result in results:
        said = f" {comment(result.comment)}" if result.comment else ""
        lines.append(f"\t;{result.method}={result.result}{said}")
        if result.reason:
            lines[-1] += f" reason={quoted(result.reason)}"
        if result.properties:
            lines.append("\t " + " ".join(f"{name}={value(v)}" for name, v in result.properties))
    if not results:
        lines.append("\t;none")
    return ("\r\n".join(lines) + "\r\n").encode()


def remove_forged_results(head: bytes, authserv_id: str) -> bytes:
    """The head without Authentication-Results that claim to be ours; all else as it was."""
    if _NAME not in head.lower():
        return head
    ours = _comparable(authserv_id)
    return _FIELD.sub(lambda field: b"" if _may_be(field[1], ours) else field[0], head)


def _may_be(raw_value: bytes, ours: str) -> bool:
    """Whether a field's authserv-id is `ours`, or nothing that can be told from it."""
    text = _without_leading_comments(raw_value)
    if quoted := _QUOTED.match(text):
        found = _QUOTED_PAIR.sub(rb"\1", quoted[1])
    elif bare := _BARE.match(text):
        found = bare[0]
    else:
        return True
    return _comparable(found.decode("utf-8", "replace")) == ours


def _without_leading_comments(text: bytes) -> bytes:
    """The text from its first octet that is neither blank nor within a comment."""
    depth = 0
    position = 0
    while position < len(text):
        octet = text[position]
        if octet == 0x5C and depth:  # a backslash takes the next octet along
            position += 1
        elif octet == 0x28:
            depth += 1
        elif octet == 0x29 and depth:
            depth -= 1
        elif not depth and octet not in b" \t\r\n":
            return text[position:]
        position += 1
    return b""


def _comparable(name: str) -> str:
    """A host name in the one form; what is none is only lower-cased."""
    plain = name.strip().removesuffix(".")
    try:
        return normalize_domain(plain)
    except InvalidAddress:
        return plain.lower()
