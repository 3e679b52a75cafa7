"""Why a message from outside gets the results that it gets: every step of its authentication.

The verdict is made by the same code as at reception, on the answers that DNS gives now; what is
added here are the steps, as lines for people.
"""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from relevo.cli.recorded_lookups import Question, RecordedLookups, printable
from relevo.mail import Address, head_length
from relevo.mailauth import SpfResult, authentication_results_field, check_host
from relevo.mailauth.dkim import BodyHashes, HeaderFields, TooManyFields
from relevo.mailauth.dkim.fields import signed_octets
from relevo.mailauth.dkim.key_record import BadKey, select_key
from relevo.mailauth.dkim.signature import Signature, parse_signature
from relevo.mailauth.dkim.tags import BadTags
from relevo.mailauth.dmarc import DmarcResult, Policy
from relevo.mailauth.dmarc.author import read_author
from relevo.mailauth.dmarc.public_suffixes import (
    BadSuffixList,
    PublicSuffixes,
    SuffixWalk,
    suffixes_of,
    walk_of,
)
from relevo.mailauth.dmarc.walk import TreeWalk, WalkFailed
from relevo.mailauth.spf import SpfIdentity
from relevo.reception.acceptance import MessageRefused, method_results
from relevo.reception.authentication import Inspection
from relevo.reception.author_policy import act, checked_author, is_judged, judged
from relevo.reception.body_watch import hash_pieces
from relevo.reception.sender import is_outside
from relevo.reception.transaction import Transaction
from relevo.smtp.events import MailParameters

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.dns import DnsLookups
    from relevo.mailauth.dkim import DkimResult
    from relevo.reception.findings import Findings


@dataclass(frozen=True, slots=True)
class Envelope:
    """How the message came; `client_ip` is "" where nobody knows, and SPF cannot be asked."""

    client_ip: str
    hello_name: str
    reverse_path: Address


@dataclass(frozen=True, slots=True)
class Section:
    """One method: what it says, and how it came to say it."""

    name: str
    result: str
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MessageExplanation:
    """All of it. `reply` is what the server would answer, the reply code first."""

    sections: list[Section]
    reply: str
    results: str
    questions: list[Question]

    @property
    def is_accepted(self) -> bool:
        return self.reply.startswith("250")


async def explain_message(
    message: bytes, envelope: Envelope, config: Config, lookups: DnsLookups
) -> MessageExplanation:
    """Authenticate a message, with CRLF line ends, that came by an envelope."""
    recorded = RecordedLookups(lookups)
    transaction = Transaction(envelope.reverse_path, MailParameters())
    transaction.is_from_outside = not envelope.client_ip or is_outside(config, envelope.client_ip)
    head, body = message[: head_length(message)], message[head_length(message) + 2 :]
    sections = await _explain_spf(transaction, envelope, config, recorded)
    reply, author_section = await _judge(transaction, head, body, config, recorded)
    findings = transaction.findings
    if findings is not None:
        sections += await _explain_dkim(head, body, findings.dkim or (), recorded)
        arc = findings.arc
        links = [
            f"i={link.instance}: {link.domain} says {_text(link.results)}" for link in arc.links
        ]
        sections.append(Section("ARC", _with_reason(arc.outcome.value, arc.reason), links))
        if findings.dmarc is not None and not author_section.lines:
            walk = walk_of(findings.dmarc.author_domain, recorded, _suffixes(config))
            author_section = await _explain_dmarc(findings, findings.dmarc, transaction, walk)
    sections.append(author_section)
    results = authentication_results_field(config.hostname, method_results(transaction))
    return MessageExplanation(sections, reply, results.decode(), recorded.once)


def _text(octets: bytes) -> str:
    return printable(" ".join(octets.decode("utf-8", "replace").split()))


def _with_reason(result: str, reason: str) -> str:
    return f"{result}: {reason}" if reason else result


# -- SPF


async def _explain_spf(
    transaction: Transaction, envelope: Envelope, config: Config, lookups: DnsLookups
) -> list[Section]:
    if not envelope.client_ip:
        return [Section("SPF", "not asked: the address of the client is not known (--client-ip)")]
    if not config.spf.check or not transaction.is_from_outside:
        why = "spf.check is off" if not config.spf.check else "the client is in spf.skip_networks"
        return [Section("SPF", f"not asked: {why}")]
    sections = []
    identities = [(SpfIdentity.MAIL_FROM, envelope.reverse_path.plain)]
    if envelope.reverse_path.is_null:
        identities = []
    if config.spf.check_helo:
        identities.append((SpfIdentity.HELO, ""))
    for identity, path in identities:
        steps: list[str] = []
        result = await check_host(
            envelope.client_ip,
            path,
            envelope.hello_name,
            lookups,
            receiver=config.hostname,
            with_explanation=True,
            trace=steps.append,
        )
        if identity is SpfIdentity.MAIL_FROM or envelope.reverse_path.is_null:
            transaction.spf = result
        else:
            transaction.helo_spf = result
        sections.append(_spf_section(result, steps))
    return sections


def _spf_section(result: SpfResult, steps: list[str]) -> Section:
    name = "EHLO" if result.identity is SpfIdentity.HELO else "MAIL FROM"
    lines = [printable(step) for step in steps]
    if result.explanation:
        lines.append(f"{result.domain} explains: {result.explanation}")
    said = f"{result.outcome.value} ({result.reason})"
    return Section(f"SPF of {name}, {printable(result.domain)}", said, lines)


# -- the verdict, as at reception


async def _judge(
    transaction: Transaction, head: bytes, body: bytes, config: Config, lookups: DnsLookups
) -> tuple[str, Section]:
    """The reply; what is to be said of the author, with lines where no more can be said."""
    spf = transaction.spf
    if spf is not None and spf.outcome.value == "fail" and config.spf.reject_fail:
        reply = f"550 5.7.23 at MAIL: SPF says fail ({spf.reason}); the rest is what would follow"
    else:
        reply = ""
    try:
        author = checked_author(head, config) if is_judged(transaction, config) else None
    except MessageRefused as refusal:
        problem = read_author(head).problem
        said = Section("DMARC", "not asked", [f"no clear author: {problem}"])
        return reply or _reply(refusal), said
    inspection = Inspection(head, config, now=time.time())
    with ThreadPoolExecutor(1) as thread:
        hashes = await hash_pieces((body,), inspection.wanted, thread)
    timeout_s = config.dkim.timeout.total_seconds()
    inspect = partial(inspection.findings, hashes, lookups, timeout_s)
    if author is None:
        transaction.findings = await inspect()
        return reply or "250", Section("DMARC", "not asked", ["the client is not judged"])
    transaction.findings = await judged(
        author, transaction, inspect, config, lookups, _suffixes(config)
    )
    try:
        act(transaction.findings, transaction, config)
    except MessageRefused as refusal:
        return reply or _reply(refusal), Section("DMARC", "")
    if transaction.findings.handling is Policy.QUARANTINE:
        is_held = config.dmarc.quarantine == "hold"
        then = "kept in quarantine" if is_held else "delivered with a field Relevo-Quarantine"
        reply = reply or f"250, and {then}"
    if author.is_missing:
        return reply or "250", Section("DMARC", "not asked", ["there is no From field"])
    return reply or "250", Section("DMARC", "")


def _suffixes(config: Config) -> PublicSuffixes | None:
    """As a worker has them: without a list that can be read, DNS is asked."""
    try:
        return suffixes_of(config.dmarc)
    except (OSError, BadSuffixList):
        return None


def _reply(refusal: MessageRefused) -> str:
    answer = refusal.answer
    return f"{answer.code} {answer.enhanced} {answer.text}"


# -- DKIM


async def _explain_dkim(
    head: bytes, body: bytes, results: tuple[DkimResult, ...] | tuple[()], lookups: RecordedLookups
) -> list[Section]:
    if not results:
        return [Section("DKIM", "none: the message is not signed")]
    try:
        fields = HeaderFields(head)
    except TooManyFields as error:
        return [Section("DKIM", f"policy: {error}")]
    sections = []
    for number, (raw, result) in enumerate(
        zip(fields.all(b"dkim-signature"), results, strict=False), start=1
    ):
        name = f"DKIM signature {number}, d={result.domain} s={result.selector}"
        lines = []
        try:
            signature = parse_signature(raw)
        except BadTags as error:
            lines.append(f"the field cannot be read: {error}")
        else:
            lines = await _signature_lines(signature, fields, body, lookups)
        sections.append(Section(name, _with_reason(result.outcome.value, result.reason), lines))
    return sections


async def _signature_lines(
    signature: Signature, fields: HeaderFields, body: bytes, lookups: RecordedLookups
) -> list[str]:
    cover, signer = signature.cover, signature.signer
    hashes = BodyHashes((cover.body,))
    hashes.add(body)
    hashed = hashes.get(cover.body)
    names = b":".join(cover.names).decode("latin-1")
    octets = signed_octets(fields, cover.names, signature.raw, cover.header_form)
    digest = Hash(SHA256())
    digest.update(octets)
    signed, found = _base64(cover.body_hash), _base64(hashed.digest)
    extent = f"over {hashed.hashed} of {hashed.size} octets"
    lines = [
        f"body ({cover.body.form.value}): signed {signed}, found {found}, {extent}",
        f"fields ({cover.header_form.value}): {printable(names)}",
    ]
    found = _base64(digest.finalize())
    try:
        answer = await lookups.txt(signer.key_name)
        key = select_key(answer.records)
    except BadKey as error:
        return [*lines, f"header: found {found}; {error} ({signer.key_name})"]
    if not isinstance(key.key, RSAPublicKey):
        return [*lines, f"header: found {found}; the key is Ed25519, which hides what was signed"]
    try:
        recovered = key.key.recover_data_from_signature(signer.signature, PKCS1v15(), SHA256())
    except InvalidSignature:
        return [*lines, f"header: found {found}; the signature was not made with this key"]
    return [*lines, f"header: signed {_base64(recovered)}, found {found} (RSA, {key.bits} bits)"]


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


# -- DMARC


async def _explain_dmarc(
    findings: Findings, result: DmarcResult, transaction: Transaction, walk: TreeWalk
) -> Section:
    lines = []
    if result.author_domain:
        lines.append(f"the author's domain: {result.author_domain}")
        lines += await _walk_lines(walk)
        if result.policy_tag:
            lines.append(
                f"policy: {result.policy_tag}={result.policy.value} of {result.policy_domain}"
            )
        if result.record is not None:
            lines += await _alignment_lines(findings, result, transaction, walk)
        lines.append(f"what the domain asks for: {result.disposition.value}")
        if findings.forwarder:
            lines.append(f"{findings.forwarder} is trusted, and says that DMARC passed there")
        lines.append(f"what is done here: {findings.handling.value}")
    return Section("DMARC", _with_reason(result.outcome.value, result.reason), lines)


async def _walk_lines(walk: TreeWalk) -> list[str]:
    lines = []
    for step in await walk.steps():
        said = "DNS could not tell" if step.has_failed else "no record"
        if step.record is not None:
            said = f"a record, psd={step.record.suffix.value}"
        how = "public suffixes" if isinstance(walk, SuffixWalk) else "tree walk"
        lines.append(f"{how}: _dmarc.{step.domain} has {said}")
    try:
        lines.append(f"organizational domain: {await walk.organizational_domain()}")
    except WalkFailed as failure:
        lines.append(f"organizational domain: unknown, {failure}")
    return lines


async def _alignment_lines(
    findings: Findings,
    result: DmarcResult,
    transaction: Transaction,
    walk: TreeWalk,
) -> list[str]:
    assert result.record is not None
    lines = []
    spf = transaction.spf
    if spf is None or spf.outcome.value != "pass":
        lines.append("SPF: nothing that passed")
    else:
        domain = spf.domain.lower()
        is_aligned = domain == result.spf_domain
        lines.append(
            await _alignment_line("SPF", domain, is_aligned, result.record.is_strict_spf, walk)
        )
    passed = [one.domain for one in findings.dkim or () if one.is_pass]
    if not passed:
        lines.append("DKIM: nothing that passed")
    for domain in passed:
        is_aligned = domain in result.dkim_domains
        lines.append(
            await _alignment_line("DKIM", domain, is_aligned, result.record.is_strict_dkim, walk)
        )
    return lines


async def _alignment_line(
    method: str, domain: str, is_aligned: bool, is_strict: bool, walk: TreeWalk
) -> str:
    said = "aligned" if is_aligned else "not aligned"
    if is_strict:
        return f"{method}: {domain} passed, {said} (strict: the same domain)"
    try:
        owner = await walk.of(domain).organizational_domain()
    except WalkFailed as failure:
        owner = f"unknown ({failure})"
    return f"{method}: {domain} passed, {said} (relaxed: its organizational domain is {owner})"
