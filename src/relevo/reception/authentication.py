"""DKIM, ARC and DMARC at reception: what strangers' signatures are worth, and our own signatures.

A message from outside is verified behind its last octet: keys are looked up, all at once. What one
of our users submits is signed. What a stranger sends and we hand on to another server is sealed.

The loop is not held: large bodies are hashed in a thread, and so are signatures made that take more
than a millisecond. A message without signatures costs two searches through its head.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from relevo.directory import MailTarget, PipeTarget, ViaTarget
from relevo.dns.at_once import both
from relevo.mail import head_length
from relevo.mailauth import authentication_results_field
from relevo.mailauth.arc import (
    NO_CHAIN,
    ArcOutcome,
    ArcResult,
    ArcValidation,
    may_be_sealed,
    may_have_chain,
    seal_head,
)
from relevo.mailauth.dkim import (
    RELAXED_BODY,
    BodyHashes,
    DkimVerification,
    HeaderFields,
    SigningKey,
    TooManyFields,
    WantedHash,
    may_be_signed,
    sign_head,
    unread,
)
from relevo.mailauth.dkim.author import author_domain
from relevo.mailauth.dmarc.judged import is_report
from relevo.reception import answers
from relevo.reception.acceptance import Hooked, MessageRefused, method_results, own_head
from relevo.reception.author_failures import failure_of
from relevo.reception.author_policy import act, checked_author, is_judged, judged, row_of
from relevo.reception.body_watch import BodyWatch, hash_pieces
from relevo.reception.findings import NOT_VERIFIED, NOTHING_FOUND, Findings
from relevo.reception.services import count_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from relevo.config import Config
    from relevo.directory import Directory, Target
    from relevo.dns import DnsLookups
    from relevo.mailauth.dkim.key_files import KeyFiles
    from relevo.mailauth.dmarc.failed import FailedMessage
    from relevo.mailauth.dmarc.judged import JudgedMessage
    from relevo.mailauth.dmarc.public_suffixes import PublicSuffixes
    from relevo.reception.acceptance import Arrival, Expansion
    from relevo.reception.arriving import ArrivingMessage
    from relevo.reception.transaction import Transaction


_Made = TypeVar("_Made")


class Inspection:
    """The signatures of a message from outside, whose head is there."""

    def __init__(self, head: bytes, config: Config, *, now: float) -> None:
        self._dkim: DkimVerification | None = None
        self._arc: ArcValidation | None = None
        self._refused: Findings | None = None
        try:
            fields = HeaderFields(head)
        except TooManyFields as error:
            self._refused = Findings((unread(error),), ArcResult(ArcOutcome.FAIL, str(error)))
            return
        if config.dkim.verify:
            self._dkim = DkimVerification(fields, now=now)
        if config.arc.validate:
            self._arc = ArcValidation(fields)

    @property
    def wanted(self) -> set[WantedHash]:
        """The hashes of the body that the signatures are about."""
        dkim = self._dkim.wanted if self._dkim is not None else ()
        arc = self._arc.wanted if self._arc is not None else ()
        return {*dkim, *arc}

    async def findings(
        self, hashes: BodyHashes, resolver: DnsLookups, timeout_s: float
    ) -> Findings:
        """Ask for the keys, and judge."""
        if self._refused is not None:
            return self._refused
        if self._dkim is None:
            dkim, arc = None, await self._chain(hashes, resolver, timeout_s)
        elif self._arc is None or not self._arc.has_fields:
            arc = NO_CHAIN
            dkim = await self._dkim.results(hashes, resolver, timeout_s=timeout_s)
        else:  # the keys of both are waited for together
            verification = self._dkim
            dkim, arc = await both(
                lambda: verification.results(hashes, resolver, timeout_s=timeout_s),
                lambda: self._chain(hashes, resolver, timeout_s),
            )
        return Findings(dkim, arc, self._arc.sets if self._arc is not None else ())

    async def _chain(self, hashes: BodyHashes, resolver: DnsLookups, timeout_s: float) -> ArcResult:
        if self._arc is None:
            return NO_CHAIN
        return await self._arc.result(hashes, resolver, timeout_s=timeout_s)


class MailChecks:
    """What a worker verifies, signs and seals with."""

    def __init__(
        self,
        keys: KeyFiles,
        count: Callable[[str, str], None] = count_nothing,
        tell: Callable[[JudgedMessage], None] | None = None,
        tell_failure: Callable[[FailedMessage], None] | None = None,
    ) -> None:
        """`count` takes a family of counters and a label of it, `tell` a row of a report.

        `tell_failure` takes a message of which its author's domain wants to know at once.
        """
        self.keys = keys
        self._count = count
        self._tell = tell
        self._tell_failure = tell_failure
        self._thread: ThreadPoolExecutor | None = None
        self.suffixes: PublicSuffixes | None = None  # by which DMARC tells owners; None: by DNS

    @property
    def thread(self) -> ThreadPoolExecutor:
        """The one thread for what takes long; started when first used."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="dkim")
        return self._thread

    def watch(
        self, transaction: Transaction, head: bytes, config: Config, *, identity: str, now: float
    ) -> BodyWatch | None:
        """A large message begins: what hashes its body while it arrives, if anything does."""
        if identity:
            keys = self._signing_keys(transaction, head, config)
            return BodyWatch((RELAXED_BODY,), self.thread) if keys else None
        if not _may_have_signatures(head, config):
            return None
        transaction.inspection = Inspection(head, config, now=now)
        return BodyWatch(transaction.inspection.wanted, self.thread)

    def is_needed(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        expansion: Expansion | None,
        directory: Directory,
        config: Config,
        *,
        identity: str,
    ) -> bool:
        """Whether `authenticate` or `seal` has anything to do for a complete message.

        Where it has not, the transaction says what that means.
        """
        if identity and not self._signs(config):
            return False
        start = message.start()
        head = start[: head_length(start)]
        if identity:
            return bool(self._signing_keys(transaction, head, config))
        if _may_have_signatures(head, config) or is_judged(transaction, config):
            return True
        if config.dkim.verify:
            self._count("dkim_messages", "unsigned")
        transaction.findings = NOTHING_FOUND if config.dkim.verify else NOT_VERIFIED
        return expansion is None or self._sealing_key(expansion, directory, config) is not None

    async def authenticate(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        arrival: Arrival,
        config: Config,
        resolver: DnsLookups,
    ) -> None:
        """Sign, or find out what signatures are worth. Raises MessageRefused."""
        if arrival.identity:
            transaction.signatures = await self._sign(transaction, message, arrival, config)
        elif transaction.findings is None:
            inspect = partial(self._inspect, transaction, message, arrival, config, resolver)
            if not is_judged(transaction, config):
                transaction.findings = await inspect()
            else:
                transaction.findings = await self._judge(
                    transaction, message, arrival, inspect, config, resolver
                )
            self._count_findings(transaction.findings)
            act(transaction.findings, transaction, config)

    async def _judge(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        arrival: Arrival,
        inspect: Callable[[], Coroutine[Any, Any, Findings]],
        config: Config,
        resolver: DnsLookups,
    ) -> Findings:
        start = message.start()
        head = start[: head_length(start)]
        author = checked_author(head, config)
        suffixes = self.suffixes
        findings = await judged(author, transaction, inspect, config, resolver, suffixes)
        if self._tell is not None and config.dmarc.reports and not is_report(head):
            row = row_of(findings, transaction, arrival.client_ip, is_by_list=suffixes is not None)
            if row is not None:
                self._tell(row)
        if self._tell_failure is not None and config.dmarc.failure_reports:
            failed = failure_of(findings, transaction, arrival, head)
            if failed is not None:
                self._tell_failure(failed)
        return findings

    def _count_findings(self, findings: Findings) -> None:
        if findings.dkim is not None:
            for result in findings.dkim:
                self._count("dkim", result.outcome.value)
            is_valid = any(result.is_pass for result in findings.dkim)
            label = "valid" if is_valid else "invalid" if findings.dkim else "unsigned"
            self._count("dkim_messages", label)
        self._count("arc", findings.arc.outcome.value)
        if findings.dmarc is not None:
            self._count("dmarc", findings.dmarc.outcome.value)
            self._count("dmarc_handling", findings.handling.value)

    async def _inspect(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        arrival: Arrival,
        config: Config,
        resolver: DnsLookups,
    ) -> Findings:
        start = message.start()
        length = head_length(start)
        inspection = transaction.inspection
        if inspection is None:
            inspection = Inspection(start[:length], config, now=arrival.time)
        hashes = await self._hashes(message, start[length + 2 :], inspection.wanted)
        return await inspection.findings(hashes, resolver, config.dkim.timeout.total_seconds())

    async def _hashes(
        self, message: ArrivingMessage, body: bytes, wanted: Iterable[WantedHash]
    ) -> BodyHashes:
        """Of a body that was watched, that is on disk, or that is in memory."""
        if message.body_watch is not None:
            return await message.body_watch.hashes()
        rest = message.rest()
        pieces = (body,) if rest is None else rest.chunks()
        return await hash_pieces(pieces, wanted, self.thread)

    async def _sign(
        self, transaction: Transaction, message: ArrivingMessage, arrival: Arrival, config: Config
    ) -> bytes:
        head, rest = own_head(message, arrival)
        keys = self._signing_keys(transaction, head, config)
        if not keys:
            return b""
        hashes = await self._hashes(message, rest[2:], (RELAXED_BODY,))
        digest = hashes.get(RELAXED_BODY).digest
        make = partial(sign_head, head, digest, keys, now=arrival.time)
        try:
            signatures = b"".join(await self._made(make, keys))
        except (TooManyFields, ValueError) as error:
            self._count("signing", "failed")
            raise MessageRefused(answers.SIGNING_FAILED, f"signing failed: {error}") from error

        self._count("signing", "signed")
        return signatures

    def _signs(self, config: Config) -> bool:
        return config.dkim.sign and self.keys.has_keys

    def _signing_keys(
        self, transaction: Transaction, head: bytes, config: Config
    ) -> tuple[SigningKey, ...]:
        if not self._signs(config):
            return ()
        if config.dkim.signing_domain == "envelope":
            return self.keys.of(transaction.reverse_path.domain)
        return self.keys.of(author_domain(head))

    # -- handing on

    async def seal(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        arrival: Arrival,
        hooked: Hooked,
        directory: Directory,
        config: Config,
    ) -> Hooked:
        """The message with our link of the chain on top, when it goes to another server now."""
        findings = transaction.findings
        if transaction.set_aside is not None:
            return hooked
        if arrival.identity or findings is None or not may_be_sealed(findings.arc):
            return hooked
        key = self._sealing_key(hooked.expansion, directory, config)
        if key is None:
            return hooked
        length = head_length(hooked.start)
        rest = message.rest()
        pieces = (hooked.start[length + 2 :],) if rest is None else rest.chunks()
        hashes = await hash_pieces(pieces, (RELAXED_BODY,), self.thread)
        field = authentication_results_field(arrival.authserv_id, method_results(transaction))
        make = partial(
            seal_head,
            hooked.start[:length],
            hashes.get(RELAXED_BODY).digest,
            key,
            results=field.partition(b":")[2],
            found=findings.arc,
            sets=findings.sets,
            now=arrival.time,
        )
        await asyncio.sleep(0)  # others' turn between verifying and signing
        try:
            fields = await self._made(make, (key,))
        except TooManyFields:
            return hooked
        self._count("signing", "sealed")
        return Hooked(fields + hooked.start, hooked.expansion, hooked.records)

    def _sealing_key(
        self, expansion: Expansion, directory: Directory, config: Config
    ) -> SigningKey | None:
        """A key of the domain through which the message goes on; RSA, which all can verify."""
        if not (config.arc.seal and config.arc.validate and self.keys.has_keys):
            return None
        for expanded in expansion:
            if _leaves(expanded.target, directory):
                keys = self.keys.of(expanded.original.domain)
                if keys:
                    return next((key for key in keys if key.is_rsa), keys[0])
        return None

    async def _made(self, make: Callable[[], _Made], keys: Sequence[SigningKey]) -> _Made:
        """Signatures: at once when they take less than a millisecond, else in the thread."""
        if len(keys) == 1 and keys[0].is_quick:
            return make()
        return await asyncio.get_running_loop().run_in_executor(self.thread, make)


def _may_have_signatures(head: bytes, config: Config) -> bool:
    return (config.dkim.verify and may_be_signed(head)) or (
        config.arc.validate and may_have_chain(head)
    )


def _leaves(target: Target, directory: Directory) -> bool:
    """Whether the target is another server's."""
    match target:
        case ViaTarget():
            return True
        case MailTarget(address):
            return not directory.is_local(address.domain)
        case PipeTarget():
            return False
