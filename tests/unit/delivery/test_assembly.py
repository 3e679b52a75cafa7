"""The dispatcher that a configuration makes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.config import Config
from relevo.config.model import Delivery, Queue
from relevo.delivery import InvalidPattern, make_dispatcher
from relevo.delivery.assembly import _PolicyMaker
from relevo.directory import Directory, DirectoryWatcher, UnknownNow, UserSource
from relevo.journal import Attempted, Event, Outcome
from relevo.mail import Address
from relevo.queue.store import QueuedRecipient
from unit.delivery.fake_store import FakeStore
from unit.delivery.loops import Runner
from unit.delivery.samples import NOW, mail, make_unit, pipe


def configuration(root: Path, local: str) -> Config:
    return Config(
        config_dir=root,
        hostname="mx.d1.test",
        delivery=Delivery(
            local=local, mda_command="/bin/sh", mda_arguments=("-c", f"cat > {root}/got")
        ),
        queue=Queue(give_up_after=timedelta(hours=1)),
    )


def make_directory(root: Path, users: UserSource | None = None) -> Directory:
    folder = root / "domains" / "d1.test"
    folder.mkdir(parents=True)
    folder.joinpath("users").write_text(
        'users: { key: "ann" value: { plain: { password: "x" } } }\n'
    )
    return DirectoryWatcher(Config(config_dir=root), users=users).current


def deliver(
    run: Runner,
    root: Path,
    local: str,
    recipient: QueuedRecipient,
    route: str = "local",
    users: UserSource | None = None,
) -> list[Event]:
    directory = make_directory(root, users)
    journal: list[Event] = []

    async def scenario() -> None:
        store = FakeStore()
        dispatcher = make_dispatcher(
            configuration(root, local),
            store=store,
            directory=lambda: directory,
            journal=journal.append,
            clock=lambda: NOW,
        )
        dispatcher.take((store.put(make_unit(recipient, route=route), due=None),))
        await store.until(lambda: bool(store.results))
        await asyncio.sleep(0)
        await dispatcher.drain(5)

    run(scenario())
    return journal


def attempted(journal: list[Event]) -> Attempted:
    assert isinstance(journal[0], Attempted)
    return journal[0]


def test_maildir(run: Runner, tmp_path: Path) -> None:
    journal = deliver(run, tmp_path, f"maildir:{tmp_path}/mail/{{domain}}/{{user}}", mail())
    assert attempted(journal).route == "maildir"
    assert len(list((tmp_path / "mail/d1.test/ann/new").iterdir())) == 1


def test_maildir_of_nobody_is_not_made(run: Runner, tmp_path: Path) -> None:
    local = f"maildir:{tmp_path}/mail/{{domain}}/{{user}}"
    journal = deliver(run, tmp_path, local, mail("nobody@d1.test"))
    assert attempted(journal).detail == "there is no such user here"
    assert not (tmp_path / "mail").exists()


class Source:
    """Dovecot, which knows `bob`."""

    async def knows(self, address: Address) -> bool | UnknownNow:
        return address.local == "bob" or UnknownNow("Dovecot: down")


def test_maildir_of_a_user_whom_another_server_knows(run: Runner, tmp_path: Path) -> None:
    local = f"maildir:{tmp_path}/mail/{{domain}}/{{user}}"
    deliver(run, tmp_path, local, mail("bob@d1.test"), users=Source())
    assert len(list((tmp_path / "mail/d1.test/bob/new").iterdir())) == 1


def test_maildir_of_a_user_who_cannot_be_asked_about_waits(run: Runner, tmp_path: Path) -> None:
    local = f"maildir:{tmp_path}/mail/{{domain}}/{{user}}"
    event = attempted(deliver(run, tmp_path, local, mail("eve@d1.test"), users=Source()))
    assert event.outcome is Outcome.TEMPORARY
    assert not (tmp_path / "mail").exists()


def test_lmtp(run: Runner, tmp_path: Path) -> None:
    event = attempted(deliver(run, tmp_path, f"lmtp:{tmp_path}/nobody", mail("eve@d1.test")))
    assert (event.route, event.outcome) == ("lmtp", Outcome.TEMPORARY)


def test_replies_of_an_lmtp_server_are_smtps(tmp_path: Path) -> None:
    maker = _PolicyMaker(lambda: make_directory(tmp_path))
    assert maker.make(configuration(tmp_path, "lmtp:/run/lmtp")).around.is_local_smtp
    assert not maker.make(configuration(tmp_path, "mda")).around.is_local_smtp


def test_mda(run: Runner, tmp_path: Path) -> None:
    journal = deliver(run, tmp_path, "mda", mail())
    assert attempted(journal).route == "mda"
    assert b"Hello\r\n" in (tmp_path / "got").read_bytes()


def test_discard(run: Runner, tmp_path: Path) -> None:
    assert attempted(deliver(run, tmp_path, "discard", mail())).route == "discard"


def test_pipe(run: Runner, tmp_path: Path) -> None:
    journal = deliver(run, tmp_path, "discard", pipe("/bin/true"), route="pipe")
    assert attempted(journal).route == "pipe"


@pytest.mark.parametrize("route", ["mx:r.test", "via:m1.test"])
def test_without_agents_for_it_remote_mail_waits(run: Runner, tmp_path: Path, route: str) -> None:
    event = attempted(deliver(run, tmp_path, "discard", mail("x@r.test"), route=route))
    assert event.route == route
    assert event.outcome is Outcome.TEMPORARY


@pytest.mark.parametrize("local", ["maildir:relative/{user}", "mbox:/x", "", "maildir"])
def test_unknown_local_delivery_is_refused(tmp_path: Path, local: str) -> None:
    with pytest.raises(InvalidPattern):
        _PolicyMaker(lambda: make_directory(tmp_path)).make(configuration(tmp_path, local))


def test_reload_keeps_agents_whose_settings_are_the_same(tmp_path: Path) -> None:
    maker = _PolicyMaker(lambda: make_directory(tmp_path))
    first = configuration(tmp_path, f"maildir:{tmp_path}/{{user}}")
    before = maker.make(first)
    same = maker.make(replace(first, queue=Queue(give_up_after=timedelta(hours=2))))
    other = maker.make(configuration(tmp_path, "discard"))
    assert same.agents["local"] is before.agents["local"]
    assert same.give_up_after_s == 7200
    assert other.agents["local"] is not before.agents["local"]
