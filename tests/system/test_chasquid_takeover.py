"""A server started where chasquid was stopped: nothing that waited is lost or comes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.chasquid import ChasquidServer, chasquid_config, chasquid_util
from harness.config_dir import ConfigDir
from harness.dialog import Dialog
from harness.processes import Reaper
from harness.server import Address, RelevoServer, run_relevo
from harness.waiting import wait_for
from relevo.queue import open_reader

OPTIONS = [
    word
    for setting in (
        "listen.smtp=127.0.0.1:0",
        "listen.submission=127.0.0.1:0",
        "listen.submission_tls=127.0.0.1:0",
        "mail_log.path=mail.log",
        "queue.min_free_space=0",
        "server.workers=2",
        "dns.servers=127.0.0.1:1",
    )
    for word in ("--set", setting)
]
BODY = b'Subject: waits\r\n\r\n\xe9 "quoted"\r\n.dot\r\n' + b"long line \x01\xff\r\n" * 2000

pytestmark = pytest.mark.needs_debian("chasquid")


@pytest.fixture
def config(reaper: Reaper, tmp_path: Path) -> ConfigDir:
    """A site of chasquid whose delivery agent asks to try again later."""
    agent = tmp_path / "agent"
    agent.write_text("#!/bin/sh\nexit 75\n")
    agent.chmod(0o755)
    more = {"mail_delivery_agent_bin": str(agent)}
    config = chasquid_config(tmp_path / "chasquid", more=more)
    chasquid_util(reaper, config, "user-add", "user@d1.test", "--password=secret")
    config.write_aliases("d1.test", "both: user, far@r.test\nbroken: | false\n")
    return config


def send(address: Address, *recipients: str) -> None:
    with Dialog(address) as dialog:
        dialog.envelope("user@d1.test", *recipients)
        assert dialog.message(BODY).code == 250


def originals(config: ConfigDir) -> list[Path]:
    return sorted((config.data / "queue").glob("m:*"))


def test_mail_that_chasquid_left_is_delivered_by_relevo(reaper: Reaper, config: ConfigDir) -> None:
    chasquid = ChasquidServer(reaper, config)
    send(chasquid.smtp, "both@d1.test")
    send(chasquid.smtp, "user@d1.test")
    wait_for(lambda: b"last_failure" in b"".join(one.read_bytes() for one in originals(config)),
             what="a first attempt")  # fmt: skip
    chasquid.stop()
    left = {path.name: path.read_bytes() for path in originals(config)}
    assert len(left) == 2
    (config.data / "queue" / "m:unreadable").write_bytes(b"garbage")

    local = ["--set", f"delivery.local=maildir:{config.path}/mail/{{domain}}/{{user}}"]
    server = RelevoServer(reaper, config, options=[*OPTIONS, *local]).start()
    delivered = config.mailbox("user@d1.test").wait(2)
    assert all(BODY.replace(b"\r\n", b"\n") in message for message in delivered)
    (backup,) = config.data.glob("chasquid-backup-*")
    assert {path.name: path.read_bytes() for path in (backup / "queue").iterdir()} == left
    assert [path.name for path in originals(config)] == ["m:unreadable"]
    assert "m:unreadable" in server.process.output()
    assert server.stop() == 0

    server.start()
    assert server.stop() == 0
    assert len(config.mailbox("user@d1.test").files()) == 2
    assert len(list(config.data.glob("chasquid-backup-*"))) == 1
    with open_reader(config.data) as reader:
        routes = [unit[0] for one in reader.messages() for unit in one.units]
    assert routes == ["mx:r.test"]


def test_a_queue_is_not_taken_from_a_running_chasquid(reaper: Reaper, config: ConfigDir) -> None:
    chasquid = ChasquidServer(reaper, config)
    send(chasquid.smtp, "user@d1.test")
    before = originals(config)
    command = run_relevo(
        reaper, "import", "chasquid", "--apply", "-C", config.path, config.data,
        "--set", "data_dir=elsewhere", folder=config.path,
    )  # fmt: skip
    assert command.popen.returncode == 3
    assert "stop it first" in command.output()
    assert originals(config) == before
    chasquid.stop()
    command = run_relevo(
        reaper, "import", "chasquid", "--apply", "-C", config.path, config.data,
        "--set", "data_dir=elsewhere", folder=config.path,
    )  # fmt: skip
    assert command.popen.returncode == 0
    assert originals(config) == []
