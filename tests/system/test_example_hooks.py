"""The scanning example with stand-ins for the scanners, run by a real server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.dialog import Dialog, Reply
from harness.server import RelevoFactory, RelevoServer

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hooks" / "scan"
MESSAGE = b"Subject: s\r\n\r\nbody\r\n"
RSPAMC = "echo 'Results for file: stdin'; echo 'Action: {action}'; echo 'Score: 3.10 / 15.00'"


def start(start_relevo: RelevoFactory, scanners: Mapping[str, str]) -> RelevoServer:
    """A server whose PATH has the stand-ins and nothing of the real ones."""
    programs = start_relevo.folder / "programs"
    programs.mkdir()
    for name in ("sh", "cat", "mktemp", "rm", "sed"):
        (programs / name).symlink_to(shutil.which(name) or name)
    for name, text in scanners.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    server = start_relevo(env={"PATH": str(programs)})
    hooks = server.config.path / "hooks"
    hooks.mkdir()
    shutil.copy(EXAMPLE, hooks / "post-data")
    time.sleep(0.03)  # the server believes for 20 ms that there is no hook
    return server


def send(server: RelevoServer) -> Reply:
    with Dialog(server.smtp) as dialog:
        dialog.command("EHLO client.test")
        dialog.command("MAIL FROM:<a@r.test>")
        dialog.command("RCPT TO:<user@d1.test>")
        dialog.command("DATA")
        dialog.send(MESSAGE + b".\r\n")
        return dialog.reply()


@pytest.mark.parametrize(
    ("scanners", "reply"),
    [
        pytest.param(
            {"greylist": "echo grey"},
            "451 4.7.1 Greylisted, please come again in a few minutes",
            id="grey",
        ),
        pytest.param(
            {"rspamc": RSPAMC.format(action="reject")},
            "554 5.7.1 The message looks like spam",
            id="rspamd-reject",
        ),
        pytest.param(
            {"rspamc": RSPAMC.format(action="soft reject")},
            "451 4.7.1 Please come again in a few minutes",
            id="rspamd-soft-reject",
        ),
        pytest.param(
            {"spamc": "echo 9.1/5.0; exit 1"},
            "554 5.7.1 The message looks like spam",
            id="spamassassin",
        ),
        pytest.param(
            {"clamdscan": "echo found; exit 1"}, "554 5.7.1 The message has a virus", id="clamav"
        ),
    ],
)
def test_refusals(start_relevo: RelevoFactory, scanners: dict[str, str], reply: str) -> None:
    assert str(send(start(start_relevo, scanners))) == reply


@pytest.mark.parametrize(
    ("scanners", "fields"),
    [
        pytest.param({}, [], id="nothing-installed"),
        pytest.param({"greylist": "echo white"}, [], id="white"),
        pytest.param(
            {"rspamc": RSPAMC.format(action="no action"), "clamdscan": "exit 0"},
            [b"X-Spam-Score: 3.10", b"X-Virus-Scanned: clamdscan"],
            id="clean",
        ),
        pytest.param({"spamc": "echo 1.0/5.0"}, [b"X-Spam-Score: 1.0/5.0"], id="spamassassin"),
        pytest.param(
            {"rspamc": "exit 1", "clamdscan": "exit 2"}, [], id="scanners-that-do-not-work"
        ),
    ],
)
def test_accepted_with_fields(
    start_relevo: RelevoFactory, scanners: dict[str, str], fields: list[bytes]
) -> None:
    server = start(start_relevo, scanners)
    assert send(server).code == 250
    (message,) = server.config.mailbox("user@d1.test").wait()
    found = [line.rstrip(b"\r") for line in message.split(b"\n") if line.startswith(b"X-")]
    assert found == fields
