"""What is done about the events of one session: the decisions, without sockets.

`Dialogue.handle` answers an event at once wherever memory knows the answer; what must be waited
for (a look-up, a login, the commit) becomes the one running task of the connection, and the
session hands out no further event until it has answered.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from relevo.directory import Existence, UnknownNow
from relevo.hooks.contract import Stage
from relevo.journal import Rejected, session_error_line
from relevo.mail import NULL, Address, InvalidAddress, normalize_domain
from relevo.queue.store import StoreFailed, unleased_routes
from relevo.reception import answers
from relevo.reception.acceptance import (
    Arrival,
    Hooked,
    MessageRefused,
    arrival_of,
    check_content,
    compose,
    expand,
    expand_now,
    traced_start,
)
from relevo.reception.answers import Answer
from relevo.reception.arriving import HIGH_WATER, ArrivingMessage
from relevo.reception.conduct import is_offence, rejection_delay
from relevo.reception.login import Login
from relevo.reception.penalties import Offence
from relevo.reception.post_data import MAX_ADDRESS, RefusedByHook, ask_hooks, check_room
from relevo.reception.recipient_rules import Kind, Refused, classify
from relevo.reception.sender import (
    SenderRefused,
    check_sender,
    is_outside,
    must_be_asked,
)
from relevo.reception.stage_hooks import HookRefusal, SessionHooks
from relevo.reception.transaction import AcceptedRecipient, Transaction
from relevo.smtp import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relevo.hooks.programs import Program
    from relevo.journal import HookVerdict
    from relevo.queue.store import NewMessage
    from relevo.reception.acceptance import Expansion
    from relevo.reception.body_watch import BodyWatch
    from relevo.reception.line import Line
    from relevo.reception.services import Mode, Services
    from relevo.reception.submission_policy import SubmissionPolicy

    Exists = Callable[[Address], Awaitable[Existence | UnknownNow]]

logger = logging.getLogger("relevo.reception")


class Dialogue:
    """Policy of one session."""

    def __init__(self, line: Line, services: Services, mode: Mode) -> None:
        self._line = line
        self._services = services
        self._mode = mode
        self._transaction: Transaction | None = None
        self._hooks = SessionHooks(line, services, mode, self._record_refusal)
        self._login = Login(line, services, self._hooks.approve_login)
        self._handlers: dict[type, Callable[..., None]] = {
            events.Mail: self._on_mail,
            events.Rcpt: self._on_rcpt,
            events.BodyStart: self._on_body_start,
            events.Chunk: self._on_chunk,
            events.MessageEnd: self._on_message_end,
            events.Hello: self._on_hello,
            events.Reset: self._on_reset,
            events.Violation: self._on_violation,
            events.Auth: self._login.on_auth,
            events.AuthResponse: self._login.on_response,
        }

    def handle(self, event: events.Event) -> None:
        """Act on an event of the session; STARTTLS and QUIT are the connection's."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    @property
    def _submission(self) -> SubmissionPolicy | None:
        """The rules for a client that has logged in; None: there are none."""
        return self._services.submission if self._login.identity else None

    @property
    def has_transaction(self) -> bool:
        """A transaction is open: a draining server lets it end."""
        return self._transaction is not None

    def drop(self) -> None:
        """The one reset of everything that belongs to the transaction."""
        if self._transaction is not None:
            self._transaction.drop()
            self._transaction = None

    # -- events, in the order of a session

    def greet(self, say: Callable[[], None]) -> None:
        """Greet the client by `say`; the hooks of connect may refuse it instead."""
        self._hooks.greet(say)

    def _on_hello(self, event: events.Hello) -> None:
        self.drop()
        if self._hooks.are_at(Stage.EHLO):
            self._line.start(self._hooks.answer_hello(event, self._login.identity))
        else:
            self._answer(answers.HELLO_OK)

    def _on_mail(self, event: events.Mail) -> None:
        self.drop()
        self._line.conduct.on_command()
        path = event.path
        if path.is_null:
            reverse_path = NULL
        else:
            try:
                reverse_path = Address(path.local, normalize_domain(path.domain))
            except InvalidAddress:
                return self._refuse_sender(answers.BAD_SENDER_DOMAIN, f"{path.local}@{path.domain}")
        if len(reverse_path.plain.encode()) > MAX_ADDRESS:
            return self._refuse_sender(answers.SENDER_TOO_LONG, reverse_path.plain)
        if self._services.store.is_suspended:
            return self._refuse_sender(answers.STORE_SUSPENDED, reverse_path.plain)
        if self._services.store.is_short_of_space:
            return self._refuse_sender(answers.NO_SPACE, reverse_path.plain)
        self._transaction = Transaction(reverse_path, event.parameters)
        if self._services.stage_hooks is not None:
            self._hooks.begin(self._transaction)
        self._line.conduct.on_transaction()
        if self._submission is not None:
            return self._line.start(self._check_sender(self._transaction))
        config = self._services.config
        if not self._login.identity and is_outside(config, self._line.client_ip):
            self._transaction.is_from_outside = True
            if must_be_asked(self._services, self._line, self._transaction):
                return self._line.start(self._check_sender(self._transaction))
        if self._hooks.are_at(Stage.MAIL):
            return self._line.start(self._ask_at_mail(self._transaction))
        return self._answer(answers.SENDER_OK)

    async def _check_sender(self, transaction: Transaction) -> None:
        reverse_path = transaction.reverse_path
        try:
            if self._submission is not None:
                await self._submission.at_mail(self._login.identity, reverse_path)
            else:
                transaction.spf, transaction.helo_spf = await check_sender(
                    self._services, self._line, reverse_path
                )
        except SenderRefused as refusal:
            self.drop()
            self._refuse_sender(refusal.answer, reverse_path.plain)
            return
        await self._ask_at_mail(transaction)

    async def _ask_at_mail(self, transaction: Transaction) -> None:
        """The last question about a sender that we accept."""
        refusal = await self._hooks.mail(transaction, self._login.identity)
        if refusal is None:
            self._answer(answers.SENDER_OK)
            return
        self.drop()
        self._hooks.record_refusal("MAIL", refusal, transaction.reverse_path.plain)
        self._answer(refusal.answer)

    def _on_rcpt(self, event: events.Rcpt) -> None:
        self._line.conduct.on_command()
        assert self._transaction is not None
        services = self._services
        found = classify(
            event.path, services, identity=self._login.identity, client_ip=self._line.named_ip,
            reverse_path=self._transaction.reverse_path,
        )  # fmt: skip
        if isinstance(found, Refused):
            return self._refuse_recipient(found.answer, found.written, found.reason)
        address, parameters = found.address, event.parameters
        if found.kind is Kind.RELAYED:
            return self._accept_recipient(address, parameters, found.redirect)
        if found.kind is Kind.VERIFIED:
            return self._line.start(self._ask(services.relay_domains.verify, address, parameters))
        existence = services.directory().exists_now(address)
        if existence is None:
            return self._line.start(self._ask(self._exists, address, parameters))
        return self._on_existence(existence, address, parameters)

    async def _exists(self, address: Address) -> Existence | UnknownNow:
        transaction, directory = self._transaction, self._services.directory()
        if transaction is None:  # the client is gone
            return Existence.ABSENT
        transaction.alias_hooks = transaction.alias_hooks or directory.asked_once()
        return await directory.exists(address, transaction.alias_hooks)

    async def _ask(
        self, exists: Exists, address: Address, parameters: events.RcptParameters
    ) -> None:
        existence = await exists(address)
        if self._transaction is None:  # the client is gone
            return
        if existence is Existence.FOUND and self._hooks.are_at(Stage.RCPT):
            await self._ask_at_rcpt(address, parameters)
        else:
            self._on_existence(existence, address, parameters)

    def _on_existence(
        self, existence: Existence | UnknownNow, address: Address, parameters: events.RcptParameters
    ) -> None:
        if existence is Existence.FOUND:
            self._accept_recipient(address, parameters)
        elif existence is Existence.ABSENT:
            self._refuse_recipient(answers.RECIPIENT_UNKNOWN, address.plain)
        elif existence is Existence.INVALID:
            self._refuse_recipient(answers.RECIPIENT_INVALID, address.plain)
        else:
            self._refuse_recipient(answers.RECIPIENT_UNKNOWN_NOW, address.plain, existence.reason)

    def _accept_recipient(
        self,
        address: Address,
        parameters: events.RcptParameters,
        redirect: tuple[Address, ...] = (),
    ) -> None:
        if self._hooks.are_at(Stage.RCPT):
            self._line.start(self._ask_at_rcpt(address, parameters, redirect))
        else:
            self._take_recipient(AcceptedRecipient(address, parameters, redirect))

    async def _ask_at_rcpt(
        self,
        address: Address,
        parameters: events.RcptParameters,
        redirect: tuple[Address, ...] = (),
    ) -> None:
        """The last question about a recipient that we accept."""
        transaction = self._transaction
        if transaction is None:
            return
        answer = await self._hooks.rcpt(transaction, address, self._login.identity)
        if self._transaction is None:  # the client is gone
            return
        if isinstance(answer, HookRefusal):
            self._refuse_recipient(
                answer.answer, address.plain, answer.reason, message_id=answer.rows
            )
        else:
            self._take_recipient(AcceptedRecipient(address, parameters, answer or redirect))

    def _take_recipient(self, recipient: AcceptedRecipient) -> None:
        assert self._transaction is not None
        recipients = self._transaction.recipients
        if self._submission is not None:
            refusal = self._submission.at_rcpt(self._login.identity, len(recipients) + 1)
            if refusal is not None:
                return self._refuse_recipient(refusal, recipient.address.plain)
        recipients.append(recipient)
        return self._answer(answers.RECIPIENT_OK)

    def _on_body_start(self, _event: events.BodyStart) -> None:
        assert self._transaction is not None
        self._transaction.message = ArrivingMessage(
            self._services.store.spool,
            self._services.config.limits.header_size,
            partial(self._watch_body, self._transaction),
        )
        self._line.session.proceed()

    def _watch_body(self, transaction: Transaction, head: bytes) -> BodyWatch | None:
        """Who wants to see the body of a large message, now that its head is there."""
        services, identity = self._services, self._login.identity
        return services.mail_checks.watch(
            transaction, head, services.config, identity=identity, now=time.time()
        )

    def _on_chunk(self, event: events.Chunk) -> None:
        message = self._transaction.message if self._transaction else None
        if message is None:
            return
        try:
            message.add(event.data)
        except StoreFailed as error:
            self._drop_message()
            logger.warning("%s: spooling a message failed: %s", self._line.client, error)
            return
        spool = message.spool
        if spool is not None and spool.pending > HIGH_WATER:
            self._line.hold_reading(spool.drained())
        elif message.body_watch is not None and message.body_watch.pending > HIGH_WATER:
            self._line.hold_reading(message.body_watch.drained())

    def _on_message_end(self, _event: events.MessageEnd) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        try:
            self._accept(transaction)
        except MessageRefused as refusal:
            self._refuse_message(refusal, transaction)

    def _accept(self, transaction: Transaction) -> None:
        """All that memory can answer; the rest is a task. Raises MessageRefused."""
        services = self._services
        message = transaction.message
        if message is None:
            raise MessageRefused(answers.CANNOT_QUEUE, "the spool failed")
        check_content(message, services.config)
        if services.is_queue_full():
            raise MessageRefused(answers.QUEUE_FULL)
        directory = services.directory()
        limit = services.config.limits.expanded_recipients
        expansion = expand_now(transaction.recipients, directory, limit)
        programs = services.post_data.find()
        must_wait = services.mail_checks.is_needed(
            transaction, message, expansion, directory, services.config,
            identity=self._login.identity,
        )  # fmt: skip
        if transaction.is_discarded:
            expansion, must_wait = [], True
        must_wait = must_wait or transaction.set_aside is not None or self._submission is not None
        if expansion is None or programs or must_wait or services.post_data.is_watched:
            self._line.start(self._ask_and_store(transaction, message, expansion, programs))
            return
        arrival = self._arrival()
        plain = Hooked(traced_start(transaction, message, arrival), expansion)
        new = compose(
            transaction, message, arrival, plain, directory, services.routes, services.forwarding
        )
        self._line.start(self._store(new, transaction))

    async def _ask_and_store(
        self,
        transaction: Transaction,
        message: ArrivingMessage,
        expansion: Expansion | None,
        programs: list[Program],
    ) -> None:
        """Expand where hooks must be asked; verify or sign; post-data hooks; seal."""
        services = self._services
        directory = services.directory()
        config, checks = services.config, services.mail_checks
        limit = services.config.limits.expanded_recipients
        arrival = self._arrival()
        policy, identity = self._submission, self._login.identity
        try:
            if policy is not None:
                await policy.at_message(identity, message, len(transaction.recipients))
            if expansion is None:
                hooks = transaction.alias_hooks or directory.asked_once()
                expansion = await expand(transaction.recipients, directory, limit, hooks)
            await checks.authenticate(transaction, message, arrival, config, services.resolver)
            hooked = Hooked(traced_start(transaction, message, arrival), expansion)
            if programs or services.post_data.is_watched:
                hooked = await ask_hooks(
                    services.post_data, programs, transaction, arrival, message, hooked,
                    directory, limit,
                )  # fmt: skip
            hooked = await checks.seal(transaction, message, arrival, hooked, directory, config)
            if transaction.set_aside is not None:
                await check_room(services.store, message, hooked, config)
        except RefusedByHook as refusal:
            self._record_hooks(transaction.records_of(arrival.message_id) + refusal.records)
            self._refuse_message(refusal, transaction, arrival.message_id)
            return
        except MessageRefused as refusal:
            self._refuse_message(refusal, transaction)
            return
        if not hooked.expansion:  # a hook took every recipient away
            transaction.drop()
            self._record_hooks(transaction.records_of(arrival.message_id) + hooked.records)
            self._answer(answers.accepted(arrival.message_id))
            return
        new = compose(
            transaction, message, arrival, hooked, directory, services.routes, services.forwarding
        )
        if policy is not None:
            new = policy.held_if_suspect(identity, new)
        await self._store(new, transaction)

    async def _store(self, message: NewMessage, transaction: Transaction) -> None:
        try:
            place = self._services.place
            is_free = message.units[0].due <= message.created
            units = await self._services.store.add(message, lease=is_free, place=place)
        except StoreFailed as error:
            refusal = MessageRefused(answers.CANNOT_QUEUE, f"storing failed: {error}")
            self._refuse_message(refusal, transaction)
            return
        for event in message.events:
            self._services.log(event)
        self._line.conduct.on_accepted(len(transaction.recipients))
        self._answer(answers.accepted(message.id))
        self._services.take(units, unleased_routes(message, units))

    def _record_hooks(self, records: tuple[HookVerdict, ...]) -> None:
        """Verdicts about a message that is not stored."""
        for record in records:
            self._services.record(record)

    def _arrival(self) -> Arrival:
        return arrival_of(self._line, self._services, self._mode, self._login.identity)

    def _on_reset(self, _event: events.Reset) -> None:
        self.drop()

    def _on_violation(self, event: events.Violation) -> None:
        answer = Answer(event.code, event.enhanced, event.text)
        self._record_refusal(event.verb, answer, f"{event.verb}: {event.text}")
        if is_offence(event):
            self._line.conduct.on_offence(Offence.PROTOCOL)
        if event.resets:
            self.drop()

    # -- answering

    def _answer(self, answer: Answer) -> None:
        session = self._line.session
        if answer.code == 421:  # closes the connection (RFC 5321 §4.2.3)
            session.close(answer.code, answer.enhanced, answer.text)
        else:
            session.reply(answer.code, answer.enhanced, answer.text)

    def _refuse_sender(self, answer: Answer, sender: str) -> None:
        self._record_refusal("MAIL", answer, answer.text, sender)
        self._answer(answer)

    def _refuse_recipient(
        self, answer: Answer, recipient: str, reason: str = "", message_id: str = ""
    ) -> None:
        """After many refused recipients the answer takes its time."""
        self._record_refusal("RCPT", answer, reason or answer.text, None, (recipient,), message_id)
        if answer.code >= 500:
            self._line.conduct.on_offence(Offence.RECIPIENT)
        if not self._login.identity:
            delay = rejection_delay(self._line.session.rejected_recipients + 1)
            self._line.conduct.pause = max(self._line.conduct.pause, delay)
        self._answer(answer)

    def _refuse_message(
        self, refusal: MessageRefused, transaction: Transaction, message_id: str = ""
    ) -> None:
        transaction.drop()
        self._record_refusal(
            "DATA",
            refusal.answer,
            str(refusal),
            transaction.reverse_path.plain,
            transaction.forward_paths,
            message_id,
        )
        self._answer(refusal.answer)

    def _record_refusal(
        self,
        verb: str,
        answer: Answer,
        reason: str,
        sender: str | None = None,
        recipients: tuple[str, ...] | None = None,
        message_id: str = "",
    ) -> None:
        """`sender` and `recipients` default to those of the open transaction."""
        transaction = self._transaction
        if transaction is not None:
            sender = transaction.reverse_path.plain if sender is None else sender
            recipients = transaction.forward_paths if recipients is None else recipients
        client = self._line.client
        logger.info(
            "%s", session_error_line(client, verb, answer.code, f"{answer.enhanced} {answer.text}")
        )
        self._services.record(
            Rejected(
                time=time.time(),
                client=client,
                reverse_path=sender,
                forward_paths=recipients or (),
                code=answer.code,
                enhanced=answer.enhanced,
                reason=reason,
                message_id=message_id,
            )
        )

    def _drop_message(self) -> None:
        """The spool failed: free the message; its end will be answered 451."""
        assert self._transaction is not None
        self._transaction.drop()
