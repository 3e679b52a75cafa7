"""Exchanges from start to verdict, on a clock of our own."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient

from relevo.authn import (
    Authenticator,
    Challenge,
    LoggedIn,
    Malformed,
    Unavailable,
    WrongCredentials,
    exchanges,
)
from relevo.authn.scram_keys import FILE_NAME
from relevo.config.model import Config
from relevo.config.reception_model import Auth
from relevo.directory.directory import Directory
from relevo.directory.local_part import LocalPartRules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.authn import Step

ALL = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
BINDING = b"finished"


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """An authenticator that offers everything."""

    def __init__(
        self, directory: Directory, *, mechanisms: tuple[str, ...] = ALL, pending: int = 32
    ) -> None:
        self.clock = Clock()
        auth = Auth(
            mechanisms=mechanisms,
            failure_delay=timedelta(milliseconds=100),
            max_pending=pending,
        )
        self.authenticator = Authenticator(
            config=Config(auth=auth),
            directory=lambda: directory,
            secret=b"s" * 32,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def plain(self, identity: str, password: str) -> Step:
        exchange = self.authenticator.start("PLAIN", None)
        return asyncio.run(exchange.step(f"\0{identity}\0{password}".encode()))

    def scram(
        self, client: ScramClient, mechanism: str = "SCRAM-SHA-256", binding: bytes | None = None
    ) -> list[Step]:
        """All steps of an exchange with this client."""

        async def talk() -> list[Step]:
            exchange = self.authenticator.start(mechanism, binding)
            steps = [await exchange.step(client.get_client_first().encode())]
            if isinstance(steps[-1], Challenge):
                client.set_server_first(steps[-1].data.decode())
                steps.append(await exchange.step(client.get_client_final().encode()))
            if isinstance(steps[-1], Challenge):
                client.set_server_final(steps[-1].data.decode())
                steps.append(await exchange.step(b""))
            return steps

        return asyncio.run(talk())


@pytest.fixture
def server(directory: Directory) -> Iterator[Server]:
    server = Server(directory)
    yield server
    server.authenticator.close()


def test_mechanisms_are_offered_in_the_configured_order(directory: Directory) -> None:
    authenticator = Server(
        directory, mechanisms=("LOGIN", "scram-sha-256-plus", "PLAIN")
    ).authenticator
    assert authenticator.mechanisms(has_channel_binding=False) == ("LOGIN", "PLAIN")
    assert authenticator.mechanisms(has_channel_binding=True) == (
        "LOGIN",
        "SCRAM-SHA-256-PLUS",
        "PLAIN",
    )


def test_an_unknown_mechanism_is_logged_and_not_offered(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "relevo.authn"):
        authenticator = Server(directory, mechanisms=("PLAIN", "GSSAPI")).authenticator
    assert authenticator.mechanisms(has_channel_binding=True) == ("PLAIN",)
    assert "GSSAPI" in caplog.text


def test_without_its_package_scram_is_logged_and_not_offered(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with caplog.at_level(logging.ERROR, "relevo.authn"):
        authenticator = Server(directory).authenticator
    assert authenticator.mechanisms(has_channel_binding=True) == ("PLAIN", "LOGIN")
    assert "install relevo[scram]" in caplog.text


@pytest.mark.parametrize("mechanism", ["GSSAPI", "plain", "SCRAM-SHA-256-PLUS"])
def test_a_mechanism_that_was_not_offered_cannot_start(server: Server, mechanism: str) -> None:
    with pytest.raises(ValueError, match="not offered"):
        server.authenticator.start(mechanism, None)


def test_a_short_secret_is_refused(directory: Directory) -> None:
    with pytest.raises(ValueError, match="secret"):
        Authenticator(config=Config(), directory=lambda: directory, secret=b"")


@pytest.mark.parametrize("identity", ["user@d1.test", "USER@D1.TEST", "plain@d1.test"])
def test_the_right_password_logs_in(server: Server, identity: str) -> None:
    assert server.plain(identity, "secret") == LoggedIn(identity.lower())


@pytest.mark.case("S39", "S42", "C10")
@pytest.mark.parametrize(
    "identity",
    [
        pytest.param("user@d1.test", id="wrong password"),
        pytest.param("nobody@d1.test", id="unknown user"),
        pytest.param("rx@d1.test", id="denied"),
        pytest.param("user@r.test", id="unknown domain"),
        pytest.param("user@localhost", id="domain without users"),
        pytest.param("us.er@d1.test", id="drop character"),
        pytest.param("user+x@d1.test", id="suffix"),
    ],
)
def test_all_failures_look_the_same(server: Server, identity: str) -> None:
    password = "wrong" if identity == "user@d1.test" else "secret"
    assert server.plain(identity, password) == WrongCredentials(identity)
    assert len(server.clock.slept) == 1
    assert 0.1 <= server.clock.slept[0] <= 0.12


def test_success_takes_as_long_as_failure(server: Server) -> None:
    server.plain("user@d1.test", "secret")
    assert 0.1 <= server.clock.slept[0] <= 0.12


def test_what_took_long_is_not_delayed_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object, user: str) -> bool:
        server.clock.now += 0.07 if user == "user@d1.test" else 1
        return False

    monkeypatch.setattr(exchanges, "verify", slow)
    server.plain("user@d1.test", "x")
    assert 0.03 <= server.clock.slept.pop() <= 0.036 + 1e-9
    server.plain("other@d1.test", "x")
    assert server.clock.slept == []


@pytest.mark.parametrize("identity", ["user@d1.test", "nobody@d1.test", "user@r.test"])
def test_above_the_limit_known_and_unknown_users_are_put_off(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    server = Server(directory, pending=1)
    go_on = threading.Event()
    monkeypatch.setattr(exchanges, "verify", lambda *_, **__: go_on.wait())

    async def two() -> Step:
        first = server.authenticator.start("PLAIN", None)
        second = server.authenticator.start("PLAIN", None)
        running = asyncio.create_task(first.step(b"\0user@d1.test\0secret"))
        await asyncio.sleep(0)
        refused = await second.step(f"\0{identity}\0secret".encode())
        go_on.set()
        assert await running == LoggedIn("user@d1.test")
        return refused

    assert asyncio.run(two()) == Unavailable()
    server.authenticator.close()


def test_login_asks_and_logs_in(server: Server) -> None:
    async def talk() -> list[Step]:
        exchange = server.authenticator.start("LOGIN", None)
        return [await exchange.step(data) for data in (None, b"user@d1.test", b"secret")]

    assert asyncio.run(talk()) == [
        Challenge(b"Username:"),
        Challenge(b"Password:"),
        LoggedIn("user@d1.test"),
    ]
    assert len(server.clock.slept) == 1


def test_malformed_responses_cost_no_verification(server: Server) -> None:
    assert server.plain("user", "secret") == Malformed(
        "the identity must have the form user@domain"
    )
    assert server.clock.slept == []


def client(
    user: str, password: str, mechanism: str = "SCRAM-SHA-256", **rest: object
) -> ScramClient:
    return ScramClient([mechanism], user, password, **rest)


@pytest.mark.parametrize("first", ["PLAIN", "LOGIN"])
def test_scram_works_after_one_login_with_the_password(server: Server, first: str) -> None:
    async def log_in() -> None:
        exchange = server.authenticator.start(first, None)
        if first == "PLAIN":
            await exchange.step(b"\0user@d1.test\0secret")
        else:
            await exchange.step(b"user@d1.test")
            await exchange.step(b"secret")

    assert server.scram(client("user@d1.test", "secret"))[-1] == WrongCredentials("user@d1.test")
    asyncio.run(log_in())
    steps = server.scram(client("User@D1.test", "secret"))
    assert steps[-1] == LoggedIn("user@d1.test")
    assert len(steps) == 3
    assert server.scram(client("user@d1.test", "wrong"))[-1] == WrongCredentials("user@d1.test")


def test_without_scram_enabled_no_keys_are_made(directory: Directory, tmp_path: Path) -> None:
    server = Server(directory, mechanisms=("PLAIN",))
    assert server.plain("user@d1.test", "secret") == LoggedIn("user@d1.test")
    assert not (tmp_path / FILE_NAME).exists()
    server.authenticator.close()


@pytest.mark.parametrize(
    "identity", ["user@d1.test", "nobody@d1.test", "rx@d1.test", "user@r.test"]
)
def test_scram_failures_look_the_same(server: Server, identity: str) -> None:
    server.plain("user@d1.test", "secret")
    server.clock.slept.clear()
    salts = set()
    for _ in range(2):
        attempt = client(identity, "wrong")
        steps = server.scram(attempt)
        assert isinstance(steps[0], Challenge)
        _nonce, salt, _iterations = steps[0].data.split(b",")
        salts.add(salt)
        assert steps[1:] == [WrongCredentials(identity)]
    assert len(salts) == 1
    assert all(0.1 <= seconds <= 0.12 for seconds in server.clock.slept)
    assert len(server.clock.slept) == 2


def test_scram_plus_binds_to_the_channel(server: Server) -> None:
    server.plain("user@d1.test", "secret")
    plus = "SCRAM-SHA-256-PLUS"
    good = client("user@d1.test", "secret", plus, channel_binding=("tls-unique", BINDING))
    assert server.scram(good, plus, BINDING)[-1] == LoggedIn("user@d1.test")
    other = client("user@d1.test", "secret", plus, channel_binding=("tls-unique", b"other"))
    assert server.scram(other, plus, BINDING)[-1] == WrongCredentials("user@d1.test")


def test_a_client_that_was_hidden_the_plus_variant_is_refused(server: Server) -> None:
    server.plain("user@d1.test", "secret")
    deceived = client("user@d1.test", "secret", channel_binding=("tls-unique", BINDING))
    assert server.scram(deceived, "SCRAM-SHA-256", BINDING) == [
        Malformed("SCRAM: server-does-support-channel-binding")
    ]


@pytest.mark.parametrize(
    ("first", "detail"),
    [
        pytest.param(b"", "other-error", id="empty"),
        pytest.param(b"n,,n=user,r=abc", "user@domain", id="no domain"),
        pytest.param(b"n,,n=us=20er@d1.test,r=abc", "invalid-username-encoding", id="bad escape"),
        pytest.param(b"n,a=x@d1.test,n=user@d1.test,r=abc", "other-error", id="authzid"),
        pytest.param(b"n,,m=x,n=user@d1.test,r=abc", "extensions-not-supported", id="extension"),
        pytest.param(b"p=tls-unique,,n=user@d1.test,r=a", "channel-binding", id="binding"),
        pytest.param(b"n,,n=\xff@d1.test,r=abc", "UTF-8", id="not UTF-8"),
        pytest.param(b"n,,n=user@d1.test,r=" + b"a" * 4096, "longer than", id="long"),
    ],
)
def test_malformed_first_messages(server: Server, first: bytes, detail: str) -> None:
    exchange = server.authenticator.start("SCRAM-SHA-256", None)
    step = asyncio.run(exchange.step(first))
    assert isinstance(step, Malformed)
    assert detail in step.detail


def test_a_malformed_proof_and_a_late_response(server: Server) -> None:
    async def proof(data: bytes) -> Step:
        exchange = server.authenticator.start("SCRAM-SHA-256", None)
        assert await exchange.step(None) == Challenge(b"")
        assert isinstance(await exchange.step(b"n,,n=user@d1.test,r=abc"), Challenge)
        return await exchange.step(data)

    assert asyncio.run(proof(b"c=biws,r=abc")) == Malformed("SCRAM: other-error")
    assert asyncio.run(proof(b"c=biws,r=other,p=AAAA")) == Malformed("SCRAM: other-error")


RESPONSES = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"n,,", b"n=a@b.c", b",", b"r=x", b"c=biws", b"p=AA==", b"=", b"y,,", b"\0"])
).map(b"".join)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ALL), st.lists(RESPONSES, min_size=1, max_size=3))
def test_any_responses_have_an_answer(mechanism: str, responses: list[bytes]) -> None:
    server = Server(Directory({}, rules=LocalPartRules()))

    async def talk() -> None:
        exchange = server.authenticator.start(mechanism, BINDING)
        for response in responses:
            step = await exchange.step(response)
            if not isinstance(step, Challenge):
                assert isinstance(step, WrongCredentials | Malformed)
                return

    asyncio.run(talk())
    server.authenticator.close()
