"""One config directory, two servers: what chasquid-util made relevo serves, and the reverse."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.chasquid import (
    ChasquidServer,
    chasquid_config,
    chasquid_util,
    listen_for_systemd,
    recorded,
)
from harness.config_dir import ConfigDir
from harness.dialog import Dialog
from harness.processes import Reaper
from harness.server import Address, RelevoServer, run_relevo
from harness.waiting import wait_for

NO_NAME_SERVER = "dns.servers=127.0.0.1:1"  # the records of these senders are not asked for
pytestmark = pytest.mark.needs_debian("chasquid")

ALIASES = """\
# made by hand, as operators do
info: user
everyone: user, juan
Juana.Perez: juan
"""


@pytest.fixture
def config(reaper: Reaper, tmp_path: Path) -> ConfigDir:
    """A directory as chasquid-util and an operator leave it."""
    config = chasquid_config(tmp_path / "etc")
    for name, password in (("user", "secret"), ("juan", "secret2"), ("ñandú", "pluma")):
        chasquid_util(reaper, config, "user-add", f"{name}@d1.test", f"--password={password}")
    (config.path / "domains" / "d1.test" / "aliases").write_text(ALIASES)
    return config


def start_relevo_unchanged(reaper: Reaper, config: ConfigDir) -> RelevoServer:
    """relevo on the very same directory; its listeners are `systemd`, as chasquid's are."""
    sockets, wrapper = listen_for_systemd()
    server = RelevoServer(reaper, config, options=["--set", NO_NAME_SERVER])
    server.start(wrapper=wrapper, pass_fds=[each.fileno() for each in sockets])
    for each in sockets:
        each.close()
    return server


def snapshot(config: ConfigDir) -> dict[str, bytes]:
    """The files an operator owns."""
    folders = [config.path / name for name in ("certs", "domains")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    paths.append(config.path / "chasquid.conf")
    return {str(path): path.read_bytes() for path in paths}


def log_in(address: Address, user: str, password: str) -> int:
    with Dialog(address) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        return client.log_in(user, password).code


def deliver(address: Address, *recipients: str) -> None:
    with Dialog(address) as client:
        client.envelope("a@pass.test", *recipients)
        assert client.message(b"Subject: x\r\n\r\n..dots\r\n").code == 250


def test_a_directory_made_by_chasquid_util_is_served_unchanged(
    reaper: Reaper, config: ConfigDir
) -> None:
    before = snapshot(config)
    server = start_relevo_unchanged(reaper, config)
    for user, password in (("user", "secret"), ("juan", "secret2"), ("ñandú", "pluma")):
        assert log_in(server.submission, f"{user}@d1.test", password) == 235
        assert log_in(server.submission, f"{user}@d1.test", "wrong") == 535
    deliver(server.smtp, "everyone@d1.test")
    deliver(server.smtp, "ju.ana.perez+tag@d1.test")
    runs = recorded(config, 3)
    assert sorted(arguments[1] for arguments, _ in runs) == [
        "juan@d1.test",
        "juan@d1.test",
        "user@d1.test",
    ]
    for arguments, message in runs:
        assert arguments[0] == "a@pass.test"
        assert message.endswith(b"\r\nSubject: x\r\n\r\n..dots\r\n")
        assert b"Return-Path: " not in message, "the delivery agent writes its own"
    server.stop()
    assert snapshot(config) == before


def test_chasquid_serves_the_directory_again_after_relevo(
    reaper: Reaper, config: ConfigDir
) -> None:
    start_relevo_unchanged(reaper, config).stop()
    server = ChasquidServer(reaper, config)
    assert log_in(server.submission, "user@d1.test", "secret") == 235
    deliver(server.smtp, "info@d1.test")
    [(arguments, _)] = recorded(config, 1)
    assert arguments == ["a@pass.test", "user@d1.test"]


def test_a_user_that_relevo_adds_logs_in_on_chasquid(reaper: Reaper, config: ConfigDir) -> None:
    for user in ("new@d1.test", "ñú@d1.test"):
        added = run_relevo(
            reaper,
            "user", "add", user, "--password-stdin", "--config-dir", config.path,
            folder=config.path,
            stdin="from relevo\n",
        )  # fmt: skip
        assert added.popen.returncode == 0, added.output()
    server = ChasquidServer(reaper, config)
    for user in ("new@d1.test", "ñú@d1.test"):
        assert log_in(server.submission, user, "from relevo") == 235
        assert log_in(server.submission, user, "wrong") == 535
    assert log_in(server.submission, "user@d1.test", "secret") == 235, "the others stay"
    chasquid_util(reaper, config, "authenticate", "new@d1.test", "--password=from relevo")


def test_a_user_that_chasquid_util_adds_logs_in_on_relevo_without_a_restart(
    reaper: Reaper, config: ConfigDir
) -> None:
    server = start_relevo_unchanged(reaper, config)
    chasquid_util(reaper, config, "user-add", "late@d1.test", "--password=from chasquid")
    server.reload()
    wait_for(
        lambda: log_in(server.submission, "late@d1.test", "from chasquid") == 235,
        what="the new user",
    )
    verified = run_relevo(
        reaper,
        "user", "verify", "late@d1.test", "--password-stdin", "--config-dir", config.path,
        folder=config.path,
        stdin="from chasquid\n",
    )  # fmt: skip
    assert verified.popen.returncode == 0, verified.output()


def test_a_user_that_relevo_removes_is_unknown_to_chasquid(
    reaper: Reaper, config: ConfigDir
) -> None:
    removed = run_relevo(
        reaper, "user", "remove", "juan@d1.test", "--config-dir", config.path, folder=config.path
    )
    assert removed.popen.returncode == 0, removed.output()
    server = ChasquidServer(reaper, config)
    assert log_in(server.submission, "juan@d1.test", "secret2") == 535
    assert log_in(server.submission, "user@d1.test", "secret") == 235
