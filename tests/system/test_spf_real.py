"""SPF of a running server whose name server is real, and changes at a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config_dir import Setting, standard_settings
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer

pytestmark = pytest.mark.needs_debian("nsd")
NOBODY = "127.0.0.1:1"


def mail_from(server: RelevoServer, sender: str) -> tuple[int, str]:
    with Dialog(server.smtp) as client:
        client.expect(250, "EHLO client.test")
        reply = client.command(f"MAIL FROM:<{sender}>")
        return reply.code, reply.text


def test_a_reload_takes_another_name_server(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    settings: dict[str, Setting] = {
        "server.workers": 1, "dns.servers": [NOBODY], "spf.skip_networks": [],
    }  # fmt: skip
    server = start_relevo(settings=settings)
    assert mail_from(server, "a@fail.test")[0] == 250
    settings["dns.servers"] = [str(start_dns(reaper, tmp_path))]
    server.config.write_settings(standard_settings(server.config.path) | settings)
    server.reload()
    server.wait_for_log("configuration and files re-read")
    code, text = mail_from(server, "a@fail.test")
    assert code == 550
    assert "matched all" in text


def test_clients_on_this_machine_are_not_checked_by_default(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start_relevo(settings={"dns.servers": [str(start_dns(reaper, tmp_path))]})
    assert mail_from(server, "a@fail.test")[0] == 250
