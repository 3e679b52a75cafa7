"""What hooks ask for is put into the message that one commit stores, or nothing is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from relevo.delivery import ExpandedTarget
from relevo.directory import DirectoryWatcher, MailTarget, PipeTarget
from relevo.hooks.contract import Accept, Changes, PostDataContext, Refuse
from relevo.hooks.post_data import HookMessage, PostDataHooks, PostDataOutcome
from relevo.journal import HookVerdict
from relevo.mail import Address
from relevo.queue.ids import new_id
from relevo.reception.acceptance import Arrival, Hooked
from relevo.reception.arriving import ArrivingMessage
from relevo.reception.post_data import RefusedByHook, ask_hooks
from relevo.reception.transaction import AcceptedRecipient, Transaction
from relevo.smtp.events import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS
from unit.reception.conftest import FakeSpool

if TYPE_CHECKING:
    from relevo.hooks.contract import Verdict
    from relevo.hooks.programs import Program
    from unit.reception.conftest import Place

RECORD = HookVerdict(0.0, "id", "post-data", "hooks/post-data", "", "accept")
LIST = Address("al", "d1.test")


class FakeHooks:
    """Says one thing, and keeps what it was told."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.context: PostDataContext | None = None
        self.message: HookMessage | None = None

    async def ask(
        self,
        programs: list[Program],
        context: PostDataContext,
        message: HookMessage,
        *,
        raw_hello: str,
    ) -> PostDataOutcome:
        del programs, raw_hello
        self.context, self.message = context, message
        return PostDataOutcome(self._verdict, b"X: 1\r\n" + message.start, (RECORD,))


def ask(place: Place, verdict: Verdict) -> tuple[Hooked, Transaction, FakeHooks]:
    """A message to an alias of a user and a remote address."""
    directory = DirectoryWatcher(place.config).current
    transaction = Transaction(Address("a", "r.test"), NO_MAIL_PARAMETERS)
    transaction.recipients.append(AcceptedRecipient(LIST, NO_RCPT_PARAMETERS))
    message = ArrivingMessage(FakeSpool, 10_000)
    message.add(b"A: b\r\n\r\nx\r\n")
    arrival = Arrival(
        time=0.0,
        message_id=new_id(),
        mode="SMTP",
        client="192.0.2.7:4711",
        client_ip="192.0.2.7",
        hello_name="cli",
        hostname="mx.test",
        is_esmtp=True,
        tls_version="",
        tls_cipher="",
        identity="",
        authserv_id="mx.test",
    )
    targets = (MailTarget(Address("user", "d1.test")), MailTarget(Address("x", "r.test")))
    expansion = [ExpandedTarget(target, LIST) for target in targets]
    hooks = FakeHooks(verdict)
    hooked = asyncio.run(
        ask_hooks(
            cast("PostDataHooks", hooks), [], transaction, arrival, message,
            Hooked(message.start(), expansion), directory, 100,
        )
    )  # fmt: skip
    return hooked, transaction, hooks


def addresses(hooked: Hooked) -> list[str]:
    return [
        expanded.target.address.plain
        for expanded in hooked.expansion
        if not isinstance(expanded.target, PipeTarget)
    ]


def test_context_has_forward_paths_and_what_they_stand_for(place: Place) -> None:
    _, _, hooks = ask(place, Accept())
    context = hooks.context
    assert context is not None
    assert context.forward_paths == ("al@d1.test",)
    assert [(one.target, one.kind, one.original) for one in context.recipients] == [
        ("user@d1.test", "mail", "al@d1.test"),
        ("x@r.test", "mail", "al@d1.test"),
    ]
    assert context.client.port == 4711
    assert context.size == len(b"A: b\r\n\r\nx\r\n")
    assert not context.is_from_local_domain


def test_accept_takes_header_and_records(place: Place) -> None:
    hooked, transaction, _ = ask(place, Accept())
    assert hooked.start == b"X: 1\r\nA: b\r\n\r\nx\r\n"
    assert hooked.records == (RECORD,)
    assert addresses(hooked) == ["user@d1.test", "x@r.test"]
    assert transaction.reverse_path.plain == "a@r.test"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(Changes(remove_recipients=("x@r.test",)), ["user@d1.test"], id="target"),
        pytest.param(Changes(remove_recipients=("al@d1.test",)), [], id="forward-path"),
        pytest.param(
            Changes(add_recipients=("US.ER+t@D1.test",)),
            ["user@d1.test", "x@r.test", "user@d1.test"],
            id="added-and-resolved",
        ),
        pytest.param(
            Changes(add_recipients=("Jo@q.test",), remove_recipients=("al@d1.test",)),
            ["Jo@q.test"],
            id="replaced",
        ),
    ],
)
def test_recipients(place: Place, changes: Changes, expected: list[str]) -> None:
    hooked, _, _ = ask(place, Accept(changes))
    assert addresses(hooked) == expected


@pytest.mark.parametrize(("sender", "plain"), [("", "<>"), ("B@q.test", "B@q.test")])
def test_sender(place: Place, sender: str, plain: str) -> None:
    _, transaction, _ = ask(place, Accept(Changes(reverse_path=sender)))
    assert transaction.reverse_path.plain == plain


def test_refusal_keeps_its_records(place: Place) -> None:
    with pytest.raises(RefusedByHook) as refused:
        ask(place, Refuse(550, "5.7.1", "no"))
    assert (refused.value.answer.code, refused.value.answer.text) == (550, "no")
    assert refused.value.records == (RECORD,)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(Changes(add_recipients=("@",)), id="added"),
        pytest.param(Changes(remove_recipients=("a@..",)), id="removed"),
        pytest.param(Changes(reverse_path="a@b_c"), id="sender"),
        pytest.param(Changes(add_recipients=("loop@d1.test",)), id="added-loop"),
    ],
)
def test_address_that_is_none_is_451_for_the_message(place: Place, changes: Changes) -> None:
    with pytest.raises(RefusedByHook) as refused:
        ask(place, Accept(changes))
    assert refused.value.answer.code == 451
    assert refused.value.records == (RECORD,)
