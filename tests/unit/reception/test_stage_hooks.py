"""Hooks of connect, ehlo, auth, mail and rcpt in a session: what they see, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from relevo.hooks.contract import Changes, Refuse, Stage, StageContext
from relevo.hooks.contract.contexts import (
    AuthContext,
    ConnectContext,
    EhloContext,
    MailContext,
    RcptContext,
)
from relevo.hooks.stages import StageHooks, StageOutcome
from relevo.journal import Authenticated, HookVerdict, Rejected
from relevo.reception import Mode
from relevo.smtp import ServerSession
from unit.reception.conftest import Client, Place, Running, settle
from unit.reception.test_dialogue import HELLO, MESSAGE, TO_USER, codes
from unit.reception.test_login import log_in

Answers = dict[Stage, StageOutcome | Callable[[StageContext], StageOutcome]]
NO = Refuse(550, "5.7.1", "no")


def record(stage: Stage, verdict: str = "accept") -> HookVerdict:
    return HookVerdict(1.0, "", stage.value, "judge", "v1", verdict, reason="why")


def tagged(stage: Stage) -> StageOutcome:
    return StageOutcome(changes=Changes(tags=(stage.value,)), records=(record(stage),))


def refused(stage: Stage, refuse: Refuse = NO) -> StageOutcome:
    return StageOutcome(refuse, records=(record(stage, "reject"),))


class FakeHooks:
    """Has hooks at the stages that have an answer, and keeps what they are asked."""

    def __init__(self, said: Answers) -> None:
        self._said = said
        self.asked: list[StageContext] = []
        self.gate: asyncio.Event | None = None

    def has(self, stage: Stage) -> bool:
        return stage in self._said

    async def ask(self, context: StageContext) -> StageOutcome:
        self.asked.append(context)
        if self.gate is not None:
            await self.gate.wait()
        answer = self._said[Stage(context.stage)]
        return answer(context) if callable(answer) else answer


def connect(place: Place, said: Answers, mode: Mode = Mode.SMTP) -> tuple[Client, FakeHooks]:
    hooks = FakeHooks(said)
    services = place.services()
    services.stage_hooks = cast("StageHooks", hooks)
    return place.connect(mode, services), hooks


def refusals(place: Place) -> list[tuple[int, str]]:
    return [(event.code, event.reason) for event in place.events if isinstance(event, Rejected)]


def test_each_stage_is_told_what_is_known_and_its_tags_go_with_the_message(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        stages = (Stage.CONNECT, Stage.EHLO, Stage.MAIL, Stage.RCPT)
        client, hooks = connect(place, {stage: tagged(stage) for stage in stages})
        await settle()
        assert client.heard().startswith("220 ")
        output = await client.say_and_wait(HELLO)
        assert output.startswith("250-")
        output = await client.say_and_wait(TO_USER + MESSAGE)
        assert codes(output) == ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0"]
        connected, hello, mail, rcpt = hooks.asked
        assert isinstance(connected, ConnectContext)
        assert (connected.client.ip, connected.client.port) == ("192.0.2.7", 4711)
        assert connected.listener == "SMTP"
        assert isinstance(hello, EhloContext)
        assert (hello.client.hello_name, hello.verb) == ("cli", "EHLO")
        assert isinstance(mail, MailContext)
        assert (mail.reverse_path, mail.tags) == ("a@pass.test", ("connect", "ehlo"))
        assert isinstance(rcpt, RcptContext)
        assert (rcpt.forward_path, rcpt.is_local) == ("user@d1.test", True)
        assert rcpt.tags == ("connect", "ehlo", "mail")
        (message,) = place.store.added
        assert message.envelope.tags == ("connect", "ehlo", "mail", "rcpt")
        rows = [event for event in message.events if isinstance(event, HookVerdict)]
        assert [row.stage for row in rows] == [stage.value for stage in stages]
        assert {row.message_id for row in rows} == {message.id}

    running(run())


def test_a_second_message_has_the_tags_of_the_connection_only(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client, _ = connect(place, {Stage.EHLO: tagged(Stage.EHLO), Stage.RCPT: tagged(Stage.RCPT)})
        await client.say_and_wait(HELLO)
        await client.say_and_wait(TO_USER + "RSET\r\nMAIL FROM:<b@pass.test>\r\n")
        await client.say_and_wait("RCPT TO:<user@d1.test>\r\n" + MESSAGE)
        (message,) = place.store.added
        assert message.envelope.tags == ("ehlo", "rcpt")
        assert len(message.events) == 3

    running(run())


@pytest.mark.parametrize(
    ("refuse", "greeting"),
    [
        (Refuse(554, "5.7.1", "no"), "554 5.7.1 no"),
        (Refuse(421, "4.7.1", "wait"), "421 4.7.1 wait"),
    ],
)
def test_a_refusal_at_connect_is_the_greeting(
    place: Place, running: Running, refuse: Refuse, greeting: str
) -> None:
    async def run() -> None:
        client, _ = connect(place, {Stage.CONNECT: refused(Stage.CONNECT, refuse)})
        client.say("EHLO early\r\n")
        await settle()
        assert client.heard() == greeting + "\r\n"
        assert client.transport.is_closed
        assert refusals(place) == [(refuse.code, "judge: why")]

    running(run())


def test_what_a_client_sends_before_the_greeting_waits_for_it(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client, hooks = connect(place, {Stage.CONNECT: StageOutcome()})
        hooks.gate = asyncio.Event()
        assert await client.say_and_wait(HELLO) == ""
        client.connection.check_deadlines(asyncio.get_running_loop().time() + 10_000)
        assert not client.transport.is_closed, "the client does not wait for itself"
        hooks.gate.set()
        await settle()
        assert codes(client.heard())[0] == "220"

    running(run())


def test_a_refused_hello_leaves_the_session_without_a_name(place: Place, running: Running) -> None:
    async def run() -> None:
        client, _ = connect(place, {Stage.EHLO: refused(Stage.EHLO)})
        output = await client.say_and_wait("EHLO cli\r\nMAIL FROM:<a@pass.test>\r\n")
        assert codes(output)[-2:] == ["550", "503 5.5.1"]

    running(run())


def test_a_refused_login_has_failed(place: Place, running: Running) -> None:
    async def run() -> None:
        refuse = Refuse(535, "5.7.1", "not from there")
        client, hooks = connect(place, {Stage.AUTH: refused(Stage.AUTH, refuse)})
        settings = replace(client.connection.session.settings, mechanisms=("PLAIN",))
        client.connection.session = ServerSession(settings, is_tls=True)
        client.connection.session.greet()
        client.say(HELLO)
        assert await log_in(client, "secret") == "535 5.7.1 not from there\r\n"
        (context,) = hooks.asked
        assert isinstance(context, AuthContext)
        assert (context.user, context.listener) == ("user@d1.test", "SMTP")
        assert [e.succeeded for e in place.events if isinstance(e, Authenticated)] == [False]
        relay = "MAIL FROM:<user@d1.test>\r\nRCPT TO:<x@r.test>\r\n"
        assert codes(client.say(relay)) == ["250 2.1.0", "503 5.7.1"]

    running(run())


def test_a_refused_sender_opens_no_transaction(place: Place, running: Running) -> None:
    async def run() -> None:
        client, _ = connect(place, {Stage.MAIL: refused(Stage.MAIL)})
        await client.say_and_wait(HELLO)
        output = await client.say_and_wait(TO_USER)
        assert codes(output) == ["550 5.7.1", "503 5.5.1"]
        row, refusal = place.events[0], place.events[1]
        assert isinstance(row, HookVerdict)
        assert isinstance(refusal, Rejected)
        assert refusal.reverse_path == "a@pass.test"
        assert row.message_id == refusal.message_id != ""

    running(run())


def test_a_hook_at_mail_changes_the_sender(place: Place, running: Running) -> None:
    async def run() -> None:
        outcome = StageOutcome(changes=Changes(reverse_path="other@r.test"))
        client, _ = connect(place, {Stage.MAIL: outcome})
        await client.say_and_wait(HELLO)
        await client.say_and_wait(TO_USER + MESSAGE)
        (message,) = place.store.added
        assert message.envelope.reverse_path == "other@r.test"

    running(run())


def test_a_sender_that_is_no_address_is_451(place: Place, running: Running) -> None:
    async def run() -> None:
        outcome = StageOutcome(changes=Changes(reverse_path="@b"), records=(record(Stage.MAIL),))
        client, _ = connect(place, {Stage.MAIL: outcome})
        await client.say_and_wait(HELLO)
        assert codes(await client.say_and_wait(TO_USER)) == ["451 4.3.0", "503 5.5.1"]

    running(run())


def test_a_recipient_that_we_refuse_is_never_shown_to_a_hook(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client, hooks = connect(place, {Stage.RCPT: StageOutcome()})
        await client.say_and_wait(HELLO)
        output = await client.say_and_wait(
            "MAIL FROM:<a@pass.test>\r\nRCPT TO:<x@elsewhere.test>\r\nRCPT TO:<nobody@d1.test>\r\n"
        )
        assert codes(output) == ["250 2.1.0", "503 5.7.1", "550 5.1.1"]
        assert hooks.asked == []

    running(run())


def test_one_recipient_is_refused_and_the_others_stay(place: Place, running: Running) -> None:
    def judge(context: StageContext) -> StageOutcome:
        assert isinstance(context, RcptContext)
        return refused(Stage.RCPT) if context.forward_path == "al@d1.test" else StageOutcome()

    async def run() -> None:
        client, hooks = connect(place, {Stage.RCPT: judge})
        await client.say_and_wait(HELLO)
        output = await client.say_and_wait(TO_USER + "RCPT TO:<al@d1.test>\r\n" + MESSAGE)
        assert codes(output) == ["250 2.1.0", "250 2.1.5", "550 5.7.1", "354", "250 2.0.0"]
        last = hooks.asked[-1]
        assert isinstance(last, RcptContext)
        assert last.forward_paths == ("user@d1.test",)
        (message,) = place.store.added
        assert [r.target for unit in message.units for r in unit.recipients] == ["user@d1.test"]

    running(run())


def test_a_redirect_takes_the_place_of_the_recipient(place: Place, running: Running) -> None:
    async def run() -> None:
        outcome = StageOutcome(changes=Changes(redirect=("al@d1.test", "y@r.test")))
        client, _ = connect(place, {Stage.RCPT: outcome})
        await client.say_and_wait(HELLO)
        await client.say_and_wait(TO_USER + MESSAGE)
        (message,) = place.store.added
        recipients = [r for unit in message.units for r in unit.recipients]
        assert sorted(r.target for r in recipients) == ["user@d1.test", "x@r.test", "y@r.test"]
        assert {r.original for r in recipients} == {"user@d1.test"}

    running(run())


def test_a_client_that_leaves_while_a_hook_thinks_costs_nothing(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        client, hooks = connect(place, {Stage.RCPT: StageOutcome()})
        await client.say_and_wait(HELLO)
        hooks.gate = asyncio.Event()
        await client.say_and_wait(TO_USER)
        client.connection.connection_lost(None)
        hooks.gate.set()
        await settle()
        assert place.store.added == []
        assert refusals(place) == []

    running(run())


def test_421_of_a_hook_closes_the_connection(place: Place, running: Running) -> None:
    async def run() -> None:
        refuse = Refuse(421, "4.7.1", "go away")
        client, _ = connect(place, {Stage.MAIL: refused(Stage.MAIL, refuse)})
        await client.say_and_wait(HELLO)
        assert codes(await client.say_and_wait(TO_USER)) == ["421 4.7.1"]
        assert client.transport.is_closed

    running(run())
