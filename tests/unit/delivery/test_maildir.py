"""Delivery into Maildir: order of steps, repeats, failures."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.delivery.attempt import Result
from relevo.delivery.mailbox_pattern import parse_pattern
from relevo.delivery.maildir import MaildirAgent, delivery_head, file_name
from relevo.directory import Existence, UnknownNow
from relevo.journal import Outcome
from relevo.mail import Address
from relevo.queue.store import QueuedRecipient, RecipientState, Unit
from unit.delivery.loops import Runner
from unit.delivery.samples import MESSAGE, Pieces, attempt_of, mail, make_unit

HEAD = b"Return-Path: <a@b.test>\nDelivered-To: ann@d1.test\n"


class Users:
    """A database of users."""

    def __init__(self, answer: Existence | UnknownNow = Existence.FOUND) -> None:
        self.answer = answer
        self.asked: list[Address] = []

    async def __call__(self, address: Address) -> Existence | UnknownNow:
        self.asked.append(address)
        return self.answer


def deliver(
    run: Runner,
    root: Path,
    unit: Unit,
    users: Users | None = None,
    *,
    is_repeat: bool = False,
    pattern: str = "{domain}/{user}",
) -> tuple[Result, ...]:
    agent = MaildirAgent(parse_pattern(f"{root}/{pattern}"), "mx.d1.test", users or Users())
    try:
        return run(agent.attempt(attempt_of(unit, is_repeat=is_repeat)))
    finally:
        agent.close()


def outcomes(results: tuple[Result, ...]) -> list[Outcome]:
    return [result.outcome for result in results]


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mail"


def test_message_arrives_with_delivery_fields_and_lf(run: Runner, root: Path) -> None:
    (result,) = deliver(run, root, make_unit())
    assert result.outcome is Outcome.DELIVERED
    (path,) = files(root)
    assert path.parent == root / "d1.test" / "ann" / "new"
    assert path.read_bytes() == HEAD + MESSAGE.replace(b"\r\n", b"\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_null_reverse_path_stands_as_empty_brackets(run: Runner, root: Path) -> None:
    deliver(run, root, make_unit(reverse_path=""))
    assert files(root)[0].read_bytes().startswith(b"Return-Path: <>\n")


def test_control_characters_of_an_address_cannot_end_a_field() -> None:
    head = delivery_head('"a\r\nX: y"@b.test', Address("u\nZ: 1", "d1.test"))
    assert head.count(b"\n") == 2
    assert b"\r" not in head


def test_large_message_in_pieces_is_the_same(run: Runner, root: Path) -> None:
    piece = b"0123456789abcde\r\n" * 15_000
    pieces = (piece + b"\r", b"\n" + piece, piece)
    deliver(run, root, make_unit(content=Pieces(pieces)))
    expected = HEAD + b"".join(pieces).replace(b"\r\n", b"\n")
    assert files(root)[0].read_bytes() == expected


def test_each_recipient_of_a_unit_gets_a_file(run: Runner, root: Path) -> None:
    recipients = [mail(f"u{number}@d1.test") for number in range(100)]
    results = deliver(run, root, make_unit(*recipients))
    assert outcomes(results) == [Outcome.DELIVERED] * 100
    assert len(files(root)) == 100
    assert (
        b"Delivered-To: u7@d1.test\n"
        in next((root / "d1.test" / "u7" / "new").iterdir()).read_bytes()
    )


def test_only_pending_recipients_are_served(run: Runner, root: Path) -> None:
    done = replace(mail("bob@d1.test"), state=RecipientState.DELIVERED)
    results = deliver(run, root, make_unit(done, mail("ann@d1.test")))
    assert len(results) == 1
    assert [path.parent.parent.name for path in files(root)] == ["ann"]


def test_many_messages_for_one_mailbox_at_once(run: Runner, root: Path) -> None:
    agent = MaildirAgent(parse_pattern(f"{root}/{{user}}"), "h", Users())

    async def deliver_all() -> list[tuple[Result, ...]]:
        import asyncio

        units = [make_unit(message_id=f"m{number}") for number in range(60)]
        return await asyncio.gather(*(agent.attempt(attempt_of(unit)) for unit in units))

    results = run(deliver_all())
    agent.close()
    assert all(result.outcome is Outcome.DELIVERED for (result,) in results)
    assert len(files(root)) == 60


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (Existence.ABSENT, Outcome.PERMANENT, "5.1.1"),
        (Existence.INVALID, Outcome.PERMANENT, "5.1.3"),
        (UnknownNow("users file unreadable: /secret"), Outcome.TEMPORARY, "4.3.0"),
    ],
)
def test_mailbox_is_made_only_for_a_user(
    run: Runner, root: Path, answer: Existence | UnknownNow, outcome: Outcome, status: str
) -> None:
    (result,) = deliver(run, root, make_unit(), Users(answer))
    assert (result.outcome, result.status) == (outcome, status)
    assert "/secret" not in result.detail
    assert not root.exists()


def test_users_are_not_asked_when_the_mailbox_exists(run: Runner, root: Path) -> None:
    deliver(run, root, make_unit())
    users = Users(Existence.ABSENT)
    (result,) = deliver(run, root, make_unit(message_id="m2"), users)
    assert result.outcome is Outcome.DELIVERED
    assert users.asked == []


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("x" * 201 + "@d1.test", id="too-long"),
        pytest.param('"' + "/" * 100 + '"@d1.test', id="too-long-escaped"),
        pytest.param("ann", id="no-domain"),
    ],
)
def test_address_that_no_mailbox_can_have_fails(run: Runner, root: Path, target: str) -> None:
    (result,) = deliver(run, root, make_unit(mail(target)))
    assert (result.outcome, result.status) == (Outcome.PERMANENT, "5.1.3")
    assert not root.exists()


HOSTILE_LOCALS = [
    "..", ".", "../../x", "../../../../tmp/x", "/etc/cron.d/x", "a/b", "a/../../b", "%2e%2e",
    "%2F", "%", "a%00b", "-rf", "--help", "~root", "$(id)", "`id`", "a b", "*", "?", "a;b", "a|b",
    "a\\b", "..\\..", "'", "&", "#", "{user}", "{domain}", "cur", "new", "tmp", ".Sent", "...",
    "a..b", "mañana", "ｆｕｌｌ", "∕etc", "．．", "\u202ecod",
]  # fmt: skip


@pytest.mark.parametrize("local", HOSTILE_LOCALS)
def test_hostile_name_stays_below_its_domain(run: Runner, tmp_path: Path, local: str) -> None:
    root = tmp_path / "deep" / "mail"
    (result,) = deliver(run, root, make_unit(mail(str(Address(local, "d1.test")))))
    assert result.outcome is Outcome.DELIVERED
    (path,) = files(tmp_path)
    assert path.parent.name == "new"
    assert path.parent.parent.parent == root / "d1.test"


@pytest.mark.parametrize("domain", ["[../../x]", "..", "../x", ".hidden", "a/b"])
def test_what_is_no_domain_has_no_mailbox(run: Runner, tmp_path: Path, domain: str) -> None:
    (result,) = deliver(run, tmp_path / "mail", make_unit(mail(f"ann@{domain}")))
    assert (result.outcome, result.status) == (Outcome.PERMANENT, "5.1.3")
    assert files(tmp_path) == []


# order and repeats


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that make a delivery durable, in their order, by name of what they are on."""
    seen: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(f"fsync {path.parent.name}/{path.name}")
        real_fsync(descriptor)

    def rename(
        source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        seen.append("rename")
        real_rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    return seen


def test_file_is_synced_then_renamed_then_the_directory_synced(
    run: Runner, root: Path, steps: list[str]
) -> None:
    deliver(run, root, make_unit())
    name = file_name(make_unit(), 0, "mx.d1.test")
    assert steps[-3:] == [f"fsync tmp/{name}.{os.getpid()}", "rename", "fsync ann/new"]


def test_repeat_overwrites(run: Runner, root: Path) -> None:
    deliver(run, root, make_unit())
    (path,) = files(root)
    path.write_bytes(b"cut sh")
    (result,) = deliver(run, root, make_unit(), is_repeat=True)
    assert result.outcome is Outcome.DELIVERED
    assert files(root) == [path]
    assert path.read_bytes().startswith(HEAD)


@pytest.mark.parametrize("flags", ["", ":2,", ":2,S", ":2,RS"])
def test_repeat_finds_what_a_reader_moved_to_cur(run: Runner, root: Path, flags: str) -> None:
    deliver(run, root, make_unit())
    (path,) = files(root)
    moved = path.parent.parent / "cur" / (path.name + flags)
    path.rename(moved)
    (result,) = deliver(run, root, make_unit(), is_repeat=True)
    assert result.outcome is Outcome.DELIVERED
    assert files(root) == [moved]


def test_repeat_is_not_misled_by_a_name_that_only_begins_alike(run: Runner, root: Path) -> None:
    deliver(run, root, make_unit())
    (path,) = files(root)
    path.rename(path.parent.parent / "cur" / (path.name + "0:2,S"))
    deliver(run, root, make_unit(), is_repeat=True)
    assert path.exists()


@pytest.mark.parametrize("pid", [1, os.getpid()])
def test_tmp_file_of_a_dead_attempt_is_removed(run: Runner, root: Path, pid: int) -> None:
    deliver(run, root, make_unit())
    (path,) = files(root)
    path.unlink()
    left = path.parent.parent / "tmp" / f"{path.name}.{pid}"
    left.write_bytes(b"half")
    (result,) = deliver(run, root, make_unit(), is_repeat=True)
    assert result.outcome is Outcome.DELIVERED
    assert files(root) == [path]


def test_link_planted_as_tmp_file_is_not_written_through(run: Runner, root: Path) -> None:
    deliver(run, root, make_unit())
    (path,) = files(root)
    victim = root / "victim"
    victim.write_text("precious")
    name = file_name(make_unit(message_id="m2"), 0, "mx.d1.test")
    (path.parent.parent / "tmp" / f"{name}.{os.getpid()}").symlink_to(victim)
    (result,) = deliver(run, root, make_unit(message_id="m2"))
    assert result.outcome is Outcome.DELIVERED
    assert victim.read_text() == "precious"


def test_names_differ_by_message_unit_and_recipient() -> None:
    names = {
        file_name(make_unit(message_id=message, number=number), index, "h")
        for message in ("m1", "m2")
        for number in (0, 1)
        for index in (0, 1)
    }
    assert len(names) == 8


def test_host_name_cannot_break_the_file_name() -> None:
    assert file_name(make_unit(), 0, "a/b:c").endswith(".a\\057b\\072c")


def test_mailbox_removed_under_our_hands_is_made_again(run: Runner, root: Path) -> None:
    import shutil

    agent = MaildirAgent(parse_pattern(f"{root}/{{user}}"), "h", Users())
    run(agent.attempt(attempt_of(make_unit())))
    shutil.rmtree(root / "ann")
    (result,) = run(agent.attempt(attempt_of(make_unit(message_id="m2"))))
    agent.close()
    assert result.outcome is Outcome.DELIVERED
    assert len(files(root)) == 1


# failures


def fail_on(monkeypatch: pytest.MonkeyPatch, call: str, number: int, *, on: str = "") -> None:
    """Let os.<call> fail with an errno when its descriptor's path ends so."""
    real = getattr(os, call)

    def failing(descriptor: int, *arguments: object) -> object:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(on):
            raise OSError(number, os.strerror(number))
        return real(descriptor, *arguments)

    monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize(
    ("call", "number", "on", "status", "words"),
    [
        ("write", errno.ENOSPC, f".{os.getpid()}", "4.3.1", "disk of the mailbox is full"),
        ("write", errno.EDQUOT, f".{os.getpid()}", "4.2.2", "quota"),
        ("write", errno.EIO, f".{os.getpid()}", "4.3.0", "Input/output error"),
        ("fsync", errno.EIO, f".{os.getpid()}", "4.3.0", "Input/output error"),
        ("fsync", errno.ENOSPC, f".{os.getpid()}", "4.3.1", "disk of the mailbox is full"),
        ("fsync", errno.EIO, "/new", "4.3.0", "Input/output error"),
    ],
)
def test_failed_write_or_sync_is_temporary_and_leaves_nothing(
    run: Runner,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    on: str,
    status: str,
    words: str,
) -> None:
    deliver(run, root, make_unit(message_id="before"))
    before = files(root)
    with monkeypatch.context() as patch:
        fail_on(patch, call, number, on=on)
        (result,) = deliver(run, root, make_unit())
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, status)
    assert words in result.detail
    assert str(root) not in result.detail
    assert files(root) == before
    (result,) = deliver(run, root, make_unit(), is_repeat=True)
    assert result.outcome is Outcome.DELIVERED


def test_link_in_place_of_the_mailbox_is_temporary(run: Runner, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "d1.test").mkdir(parents=True)
    (root / "d1.test" / "ann").symlink_to(outside)
    (result,) = deliver(run, root, make_unit())
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, "4.3.5")
    assert files(tmp_path) == []


def test_one_bad_recipient_does_not_touch_the_others(run: Runner, root: Path) -> None:
    recipients: list[QueuedRecipient] = [mail("x" * 201 + "@d1.test"), mail("ann@d1.test")]
    results = deliver(run, root, make_unit(*recipients))
    assert outcomes(results) == [Outcome.PERMANENT, Outcome.DELIVERED]


class Damaged:
    """Content that breaks off while it is read."""

    size = 600_000

    def chunks(self) -> Iterator[bytes]:
        yield b"x" * 100_000
        raise RuntimeError("damaged")

    def first(self, octets: int) -> bytes:
        return b""


def test_content_that_breaks_off_leaves_nothing(run: Runner, root: Path) -> None:
    with pytest.raises(RuntimeError, match="damaged"):
        deliver(run, root, make_unit(content=Damaged()))
    assert files(root) == []


def test_close_waits_for_running_attempts(run: Runner, root: Path) -> None:
    import asyncio

    agent = MaildirAgent(parse_pattern(f"{root}/{{user}}"), "h", Users())

    async def close_while_running() -> tuple[Result, ...]:
        task = asyncio.create_task(agent.attempt(attempt_of(make_unit())))
        await asyncio.sleep(0)
        agent.close()
        return await task

    (result,) = run(close_while_running())
    assert result.outcome is Outcome.DELIVERED
