"""Dovecot behind the directory and the logins: order, cache, bounds."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from relevo.authn import (
    Authenticator,
    Dovecot,
    LoggedIn,
    Malformed,
    Step,
    Unavailable,
    WrongCredentials,
    dovecot,
)
from relevo.authn.dovecot import KEPT_S, MAX_CONNECTIONS
from relevo.config.model import Config
from relevo.config.reception_model import Auth
from relevo.directory import Directory, UnknownNow
from relevo.mail import Address
from unit.authn.dovecot_server import Script, client, listening, userdb

ADA = Address("ada", "d1.test")
KNOWN, UNKNOWN = b"USER\t1\tada\n", b"NOTFOUND\t1\n"
RIGHT, WRONG = b"OK\t1\n", b"FAIL\t1\n"


def auth_of(folder: Path) -> Auth:
    return Auth(
        dovecot=True,
        dovecot_userdb_path=str(folder / "userdb"),
        dovecot_client_path=str(folder / "client"),
    )


def log_in(
    directory: Directory, folder: Path, script: Script, user: str, mechanism: str = "PLAIN"
) -> Step:
    async def talk() -> Step:
        config = Config(auth=auth_of(folder))
        authenticator = Authenticator(
            config=config,
            directory=lambda: directory,
            secret=b"s" * 32,
            dovecot=Dovecot(config.auth),
            sleep=lambda _: asyncio.sleep(0),
        )
        async with listening(script, folder / "client"):
            exchange = authenticator.start(mechanism, None)
            if mechanism == "LOGIN":
                await exchange.step(user.encode())
                step = await exchange.step(b"secret")
            else:
                step = await exchange.step(f"\0{user}\0secret".encode())
        authenticator.close()
        return step

    return asyncio.run(talk())


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_dovecot_proves_whom_the_files_do_not_know(
    directory: Directory, tmp_path: Path, mechanism: str
) -> None:
    step = log_in(directory, tmp_path, client(RIGHT), "Ada@D1.test", mechanism)
    assert step == LoggedIn("ada@d1.test")


def test_dovecot_refuses(directory: Directory, tmp_path: Path) -> None:
    step = log_in(directory, tmp_path, client(WRONG), "ada@d1.test")
    assert step == WrongCredentials("ada@d1.test")


def test_dovecot_is_not_asked_about_a_password_that_the_file_proves(
    directory: Directory, tmp_path: Path
) -> None:
    script = client(WRONG)
    assert log_in(directory, tmp_path, script, "user@d1.test") == LoggedIn("user@d1.test")
    assert script.connections == 0


def test_denied_wins_over_dovecot(directory: Directory, tmp_path: Path) -> None:
    script = client(RIGHT)
    assert log_in(directory, tmp_path, script, "rx@d1.test") == WrongCredentials("rx@d1.test")
    assert script.connections == 0


def test_a_login_without_a_domain_is_dovecots(directory: Directory, tmp_path: Path) -> None:
    script = client(RIGHT)
    assert log_in(directory, tmp_path, script, "Ada") == LoggedIn("ada")
    assert log_in(directory, tmp_path, script, "Ada", "LOGIN") == LoggedIn("ada")
    assert isinstance(log_in(directory, tmp_path, script, "ada@"), Malformed)


def test_a_login_that_dovecot_cannot_judge_is_put_off(
    directory: Directory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        step = log_in(directory, tmp_path, client(b"WHAT\n"), "ada@d1.test")
    assert step == Unavailable()
    assert "login of ada@d1.test cannot be judged" in caplog.text
    assert "secret" not in caplog.text


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("answer", [KNOWN, UNKNOWN], ids=["known", "unknown"])
def test_an_answer_is_kept_for_a_short_time(tmp_path: Path, answer: bytes) -> None:
    async def ask() -> None:
        clock = Clock()
        asked = Dovecot(auth_of(tmp_path), clock=clock)
        script = userdb(answer)
        async with listening(script, tmp_path / "userdb"):
            expected = answer == KNOWN
            assert [await asked.knows(ADA) for _ in range(5)] == [expected] * 5
            assert script.connections == 1
            clock.now = KEPT_S
            assert await asked.knows(ADA) is expected
            assert script.connections == 2

    asyncio.run(ask())


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    async def ask() -> None:
        asked = Dovecot(auth_of(tmp_path))
        assert isinstance(await asked.knows(ADA), UnknownNow)
        async with listening(userdb(KNOWN), tmp_path / "userdb"):
            assert await asked.knows(ADA) is True

    asyncio.run(ask())


def test_a_flood_about_one_user_is_one_connection(tmp_path: Path) -> None:
    async def ask() -> None:
        asked = Dovecot(auth_of(tmp_path))
        script = userdb(KNOWN)
        async with listening(script, tmp_path / "userdb"):
            answers = await asyncio.gather(*(asked.knows(ADA) for _ in range(200)))
        assert answers == [True] * 200
        assert script.connections == 1

    asyncio.run(ask())


def test_a_flood_about_many_users_is_no_storm_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dovecot, "SLOT_TIMEOUT_S", 0.2)

    async def ask() -> None:
        asked = Dovecot(auth_of(tmp_path))
        script, released = userdb(KNOWN), asyncio.Event()

        async def wait() -> None:
            await released.wait()

        script.before = wait
        async with listening(script, tmp_path / "userdb"):
            names = [Address(f"u{n}", "d1.test") for n in range(MAX_CONNECTIONS + 5)]
            asking = [asyncio.create_task(asked.knows(name)) for name in names]
            late = await asyncio.gather(*asking[MAX_CONNECTIONS:])
            assert script.connections == MAX_CONNECTIONS
            assert all(isinstance(answer, UnknownNow) for answer in late)
            released.set()
            assert await asyncio.gather(*asking[:MAX_CONNECTIONS]) == [True] * MAX_CONNECTIONS

    asyncio.run(ask())


def test_without_any_socket_the_reason_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "userdb_socket", lambda _: None)
    answer = asyncio.run(Dovecot(Auth(dovecot=True)).knows(ADA))
    assert isinstance(answer, UnknownNow)
    assert "auth.dovecot_userdb_path" in answer.reason
