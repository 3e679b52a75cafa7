"""What is said to Dovecot, octet for octet, and what its answers mean."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest

from relevo.authn import dovecot_dialogue
from relevo.authn.dovecot_dialogue import DovecotFailed, is_known, is_proved
from unit.authn.dovecot_server import (
    CLIENT_GREETING,
    USERDB_GREETING,
    Script,
    client,
    listening,
    userdb,
)


def known(script: Script, tmp_path: Path, user: str = "ada@d1.test") -> bool:
    async def ask() -> bool:
        async with listening(script, tmp_path / "s") as path:
            return await is_known(path, user)

    return asyncio.run(ask())


def proved(script: Script, tmp_path: Path, password: bytes = b"secret") -> bool:
    async def ask() -> bool:
        async with listening(script, tmp_path / "s") as path:
            return await is_proved(path, "ada@d1.test", password)

    return asyncio.run(ask())


def test_existence_is_asked_in_these_words(tmp_path: Path) -> None:
    script = userdb(b"USER\t1\tada@d1.test\thome=/h\n")
    assert known(script, tmp_path)
    assert script.heard == [b"VERSION\t1\t1\n", b"USER\t1\tada@d1.test\tservice=smtp\n"]


def test_a_user_that_is_not_found(tmp_path: Path) -> None:
    assert not known(userdb(b"NOTFOUND\t1\n"), tmp_path)


def test_a_password_is_asked_in_these_words(tmp_path: Path) -> None:
    script = client(b"OK\t1\tuser=ada@d1.test\n")
    assert proved(script, tmp_path)
    response = base64.b64encode(b"ada@d1.test\0ada@d1.test\0secret")
    assert script.heard == [
        b"VERSION\t1\t1\n",
        b"CPID\t%d\n" % os.getpid(),
        b"AUTH\t1\tPLAIN\tservice=smtp\tsecured\tno-penalty\tnologin\tresp=%s\n" % response,
    ]


def test_a_wrong_password(tmp_path: Path) -> None:
    assert not proved(client(b"FAIL\t1\tuser=ada@d1.test\n"), tmp_path)


def test_a_password_with_nul_is_wrong_without_asking(tmp_path: Path) -> None:
    script = client(b"OK\t1\n")
    assert not proved(script, tmp_path, b"secret\0more")
    assert script.connections == 0


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        pytest.param(USERDB_GREETING, b"FAIL\t1\n", id="failure"),
        pytest.param(USERDB_GREETING, b"USER\t2\tada\n", id="of another question"),
        pytest.param(USERDB_GREETING, b"\n", id="empty line"),
        pytest.param(USERDB_GREETING, b"USER\t1", id="cut short"),
        pytest.param(USERDB_GREETING, b"", id="no answer"),
        pytest.param(USERDB_GREETING, b"USER\t1\t" + b"x" * 10_000 + b"\n", id="too long"),
        pytest.param(b"SPID\t1\nVERSION\t1\t1\n", b"USER\t1\n", id="greeting in another order"),
        pytest.param(b"VERSION\t2\t0\nSPID\t1\n", b"USER\t1\n", id="another version"),
        pytest.param(b"x" * 10_000, b"USER\t1\n", id="endless greeting"),
    ],
)
def test_no_answer_is_never_absence(tmp_path: Path, greeting: bytes, answer: bytes) -> None:
    script = userdb(answer, greeting)
    with pytest.raises(DovecotFailed):
        known(script, tmp_path)


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        pytest.param(CLIENT_GREETING, b"FAIL\t1\tuser=ada\ttemp\n", id="temporary failure"),
        pytest.param(CLIENT_GREETING, b"CONT\t1\t\n", id="a challenge"),
        pytest.param(CLIENT_GREETING, b"OK\t2\n", id="of another question"),
        pytest.param(b"MECH\tPLAIN\n" * 200, b"OK\t1\n", id="endless greeting"),
        pytest.param(b"VERSION\t1\t2\n", b"", id="no greeting"),
    ],
)
def test_no_verdict_is_never_a_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(dovecot_dialogue, "DIALOGUE_TIMEOUT_S", 0.3)
    with pytest.raises(DovecotFailed):
        proved(client(answer, greeting), tmp_path)


def test_a_dovecot_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot_dialogue, "DIALOGUE_TIMEOUT_S", 0.05)
    with pytest.raises(DovecotFailed, match="no answer in"):
        known(userdb(b"", b""), tmp_path)


def test_no_socket_is_a_failure_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DovecotFailed, match=r"/nobody: No such file"):
        asyncio.run(is_known(str(tmp_path / "nobody"), "ada"))


@pytest.mark.parametrize(
    "user", ["a b@d1.test", "a\tservice=x", "a\nUSER\t2", "a\u00a0b", "a\x01b"]
)
def test_names_that_would_be_other_fields_are_not_sent(tmp_path: Path, user: str) -> None:
    script = userdb(b"USER\t1\n")
    with pytest.raises(DovecotFailed, match="white space"):
        known(script, tmp_path, user)
    assert script.connections == 0
