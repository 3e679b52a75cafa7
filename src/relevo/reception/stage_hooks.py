"""The hooks of connect, ehlo, auth, mail and rcpt: what they are told of a session, and answer.

They are asked after our own decision accepts, so they can only narrow what is taken. Their tags
and records belong to the connection (connect, ehlo, auth) or to the transaction (mail, rcpt), and
go with every message of it. Those of a refusal are recorded at once, with it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relevo.hooks.contract import Client, Stage, Tls
from relevo.hooks.contract.contexts import (
    AuthContext,
    ConnectContext,
    EhloContext,
    MailContext,
    RcptContext,
)
from relevo.hooks.judging import joined_tags
from relevo.hooks.stages import StageOutcome
from relevo.reception import answers
from relevo.reception.acceptance import MessageRefused
from relevo.reception.answers import Answer
from relevo.reception.post_data import hook_address, hook_recipient
from relevo.reception.quarantine import SetAside

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.hooks.contract import StageContext
    from relevo.journal import HookVerdict
    from relevo.mail import Address
    from relevo.reception.line import Line
    from relevo.reception.services import Mode, Services
    from relevo.reception.transaction import Transaction
    from relevo.smtp.events import Hello

logger = logging.getLogger("relevo.reception")

MAX_RECORDS = 200
"""Of a transaction's hooks that are kept for its message; what comes beyond is left out."""
MAX_FIELDS = 64 * 1024
"""Octets of header fields that hooks give before there is a message; more are left out."""


@dataclass(frozen=True, slots=True)
class HookRefusal:
    """A hook does not want it. The rows that say why are recorded under the id `rows`."""

    answer: Answer
    reason: str
    rows: str


@dataclass(frozen=True, slots=True)
class Said:
    """What is kept of the hooks of a stage."""

    tags: tuple[str, ...] = ()
    records: tuple[HookVerdict, ...] = ()


_NOTHING = Said()


class SessionHooks:
    """Asks the hooks about one connection, and keeps what they said of it.

    `record` is `Dialogue`'s: verb, answer, reason, sender, recipients, id of the rows.
    """

    __slots__ = ("_connect", "_hello", "_line", "_login", "_mode", "_record", "_services")

    def __init__(
        self, line: Line, services: Services, mode: Mode, record: Callable[..., None]
    ) -> None:
        self._line = line
        self._services = services
        self._mode = mode
        self._record = record
        self._connect = self._hello = self._login = _NOTHING

    def are_at(self, stage: Stage) -> bool:
        """Whether there are hooks to ask."""
        hooks = self._services.stage_hooks
        return hooks is not None and hooks.has(stage)

    async def _ask(self, context: StageContext) -> StageOutcome:
        hooks = self._services.stage_hooks
        return StageOutcome() if hooks is None else await hooks.ask(context)

    @property
    def tags(self) -> tuple[str, ...]:
        """Those of the connection."""
        return joined_tags(joined_tags(self._connect.tags, self._hello.tags), self._login.tags)

    def greet(self, say: Callable[[], None]) -> None:
        """Greet the client by `say`, or say why not and close, once the hooks were asked."""
        self._connect = self._hello = self._login = _NOTHING
        if self.are_at(Stage.CONNECT):
            self._line.start(self._answer_connect(say))
        else:
            say()

    async def _answer_connect(self, say: Callable[[], None]) -> None:
        context = ConnectContext(client=self._client(), listener=self._mode.value, tls=self._tls())
        outcome = await self._ask(context)
        refusal = self._refused(outcome)
        if refusal is None:
            self._connect = Said(outcome.changes.tags, outcome.records)
            say()
            return
        self.record_refusal("connect", refusal)
        answer = refusal.answer
        self._line.session.close(answer.code, answer.enhanced, answer.text)

    async def answer_hello(self, event: Hello, identity: str) -> None:
        """About the name of EHLO; what an earlier one brought is forgotten."""
        self._hello = _NOTHING
        context = EhloContext(
            client=self._client(event.name),
            listener=self._mode.value,
            verb=event.verb,
            tls=self._tls(),
            auth=identity,
            tags=self.tags,
        )
        outcome = await self._ask(context)
        refusal, answer = self._refused(outcome), answers.HELLO_OK
        if refusal is None:
            self._hello = Said(outcome.changes.tags, outcome.records)
        else:
            self.record_refusal(event.verb, refusal)
            answer = refusal.answer
        session = self._line.session
        if answer.code == 421:
            session.close(answer.code, answer.enhanced, answer.text)
        else:
            session.reply(answer.code, answer.enhanced, answer.text)

    async def approve_login(self, user: str) -> Answer | None:
        """About a user whose password is right; None: the login counts."""
        if not self.are_at(Stage.AUTH):
            return None
        context = AuthContext(
            client=self._client(),
            listener=self._mode.value,
            user=user,
            tls=self._tls(),
            tags=self.tags,
        )
        outcome = await self._ask(context)
        refusal = self._refused(outcome)
        if refusal is None:
            self._login = Said(outcome.changes.tags, outcome.records)
            return None
        self.record_refusal("AUTH", refusal)
        return refusal.answer

    def begin(self, transaction: Transaction) -> None:
        """What the hooks said of the connection holds for its message."""
        transaction.hook_tags = self.tags
        transaction.hook_records = self._connect.records + self._hello.records + self._login.records

    async def mail(self, transaction: Transaction, identity: str) -> HookRefusal | None:
        """About a sender, which may become another one."""
        if not self.are_at(Stage.MAIL):
            return None
        reverse_path = transaction.reverse_path
        context = MailContext(
            client=self._client(),
            listener=self._mode.value,
            tls=self._tls(),
            auth=identity,
            reverse_path=reverse_path.plain,
            spf_result=_spf(transaction),
            is_from_local_domain=self._is_from_us(reverse_path),
            is_smtputf8=transaction.parameters.smtputf8,
            size=transaction.parameters.size or 0,
            tags=transaction.hook_tags,
        )
        outcome = await self._ask(context)
        refusal = self._refused(outcome)
        if refusal is None and outcome.changes.reverse_path is not None:
            try:
                transaction.reverse_path = hook_address(outcome.changes.reverse_path)
            except MessageRefused as error:
                return self._unusable(outcome, error, answers.SENDER_UNKNOWN_NOW)
        if refusal is None:
            _keep(transaction, outcome)
        return refusal

    async def rcpt(
        self, transaction: Transaction, address: Address, identity: str
    ) -> HookRefusal | tuple[Address, ...]:
        """About a recipient that we accept: where its mail goes instead, () for as it is."""
        directory = self._services.directory()
        context = RcptContext(
            client=self._client(),
            listener=self._mode.value,
            tls=self._tls(),
            auth=identity,
            reverse_path=transaction.reverse_path.plain,
            forward_path=address.plain,
            forward_paths=transaction.forward_paths,
            is_local=directory.is_local(address.domain),
            spf_result=_spf(transaction),
            is_from_local_domain=self._is_from_us(transaction.reverse_path),
            is_smtputf8=transaction.parameters.smtputf8,
            tags=transaction.hook_tags,
        )
        outcome = await self._ask(context)
        refusal = self._refused(outcome)
        if refusal is not None:
            return refusal
        try:
            redirect = tuple(hook_recipient(text, directory) for text in outcome.changes.redirect)
        except MessageRefused as error:
            return self._unusable(outcome, error, answers.RECIPIENT_UNKNOWN_NOW)
        _keep(transaction, outcome)
        return redirect

    def record_refusal(self, verb: str, refusal: HookRefusal, sender: str | None = None) -> None:
        """The refusal itself, under the id of its rows."""
        self._record(verb, refusal.answer, refusal.reason, sender, None, refusal.rows)

    def _client(self, hello_name: str | None = None) -> Client:
        line = self._line
        return Client.of(line.client, line.session.hello_name if hello_name is None else hello_name)

    def _tls(self) -> Tls | None:
        line = self._line
        return Tls(line.tls_version, line.tls_cipher) if line.tls_version else None

    def _is_from_us(self, reverse_path: Address) -> bool:
        return reverse_path.is_null or self._services.directory().is_local(reverse_path.domain)

    def _refused(self, outcome: StageOutcome) -> HookRefusal | None:
        refuse = outcome.refusal
        if refuse is None:
            return None
        answer = Answer(refuse.code, refuse.enhanced, refuse.text)
        reason = f"{outcome.records[-1].hook}: {outcome.records[-1].reason}"
        return self._recorded(outcome, answer, reason)

    def _unusable(
        self, outcome: StageOutcome, error: MessageRefused, answer: Answer
    ) -> HookRefusal:
        """An answer that asks for what cannot be."""
        logger.warning("%s: %s", self._line.client, error)
        return self._recorded(outcome, answer, str(error))

    def _recorded(self, outcome: StageOutcome, answer: Answer, reason: str) -> HookRefusal:
        message_id = self._services.new_id()
        for record in outcome.records:
            self._services.record(replace(record, message_id=message_id))
        return HookRefusal(answer, reason, message_id)


def _keep(transaction: Transaction, outcome: StageOutcome) -> None:
    changes = outcome.changes
    if changes.add:
        fields = changes.add + transaction.hook_fields
        if len(fields) <= MAX_FIELDS:
            transaction.hook_fields = fields
    if changes.hold and transaction.set_aside is None:
        by = next(each for each in reversed(outcome.records) if each.verdict == "quarantine")
        transaction.set_aside = SetAside(by.stage, by.hook, changes.hold)
    transaction.is_discarded = transaction.is_discarded or outcome.is_dropped
    transaction.hook_tags = joined_tags(transaction.hook_tags, outcome.changes.tags)
    transaction.hook_records = (transaction.hook_records + outcome.records)[:MAX_RECORDS]


def _spf(transaction: Transaction) -> str:
    return transaction.spf.outcome.value if transaction.spf else "none"
