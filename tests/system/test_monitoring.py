"""Monitoring as an operator and Prometheus meet it: pages, metrics, probes, what is refused."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.config_dir import Setting, relevo_config
from harness.debian import program
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

EXIT_CONFIG = 3  # documented in `relevo --help`
ON: dict[str, Setting] = {"listen.monitoring": "127.0.0.1:0"}
TOKEN = "a-token-that-nobody-guesses"
MESSAGE = b"Subject: hello\r\n\r\nx\r\n"

SAMPLE = re.compile(
    r"([a-z_:][a-z0-9_:]*)(?:\{([a-z_]+=\"(?:[^\"\\\n]|\\[\\\"n])*\""
    r"(?:,[a-z_]+=\"(?:[^\"\\\n]|\\[\\\"n])*\")*)\})? ([-+0-9.einf]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    fields: Mapping[str, str]
    text: str


def ask(server: RelevoServer, path: str, method: str = "GET", **fields: str) -> Page:
    address = server.monitoring
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Page(response.status, found, response.read().decode())
    finally:
        connection.close()


def samples(text: str) -> dict[str, float]:
    """Every sample of a page by name and labels as written; each must stand there once."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name = line.rpartition(" ")[0]
            assert name not in found, line
            found[name] = float(match[3])
    return found


def send(server: RelevoServer, count: int = 1) -> None:
    for _ in range(count):
        with server.dialog() as client:
            client.envelope("a@r.test", "user@d1.test")
            assert client.message(MESSAGE).code == 250


def monitoring_pid(server: RelevoServer) -> int:
    pid = server.status()["monitoring"]["pid"]
    assert isinstance(pid, int)
    return pid


def test_counters_add_up_over_workers(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    send(server, 20)
    server.config.mailbox("user@d1.test").wait(20)

    def is_counted() -> bool:
        found = samples(ask(server, "/metrics").text)
        return found.get('relevo_deliveries_total{route="maildir",outcome="delivered"}') == 20

    wait_for(is_counted, what="20 deliveries")
    found = samples(ask(server, "/metrics").text)
    assert found["relevo_messages_accepted_total"] == 20
    assert found['relevo_messages_received_total{transport="plain"}'] == 20
    for verb in ("MAIL", "RCPT", "DATA"):
        assert found[f'relevo_commands_total{{command="{verb}"}}'] == 20
    assert found['relevo_replies_total{code="354"}'] == 20
    assert found['relevo_connections_opened_total{listener="SMTP"}'] == 20
    assert found["relevo_workers_ready"] == found["relevo_workers"] == 2
    assert found["relevo_queue_messages"] == 0
    assert found['relevo_process_resident_memory_bytes{process="worker 1"}'] > 1 << 20
    assert found['relevo_certificate_expiry_timestamp_seconds{certificate="mx.test"}'] > 1.7e9


def test_a_worker_that_dies_takes_no_count_with_it(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    send(server, 6)
    victims = server.workers()
    os.kill(min(victims), signal.SIGKILL)

    def restarts() -> float:
        found = samples(ask(server, "/metrics").text)
        return sum(value for name, value in found.items() if "worker_restarts" in name)

    wait_for(lambda: restarts() == 1, what="a restart to be told")
    wait_for(lambda: ask(server, "/readyz").status == 200, what="both workers")
    assert samples(ask(server, "/metrics").text)["relevo_messages_accepted_total"] == 6


def test_openmetrics_is_given_to_who_asks_for_it(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    page = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert page.fields["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")
    assert "# TYPE relevo_commands counter\n" in page.text
    plain = ask(server, "/metrics")
    assert plain.fields["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE relevo_commands_total counter\n" in plain.text
    assert samples(page.text).keys() == samples(plain.text).keys()


@pytest.mark.needs_debian("prometheus")
def test_promtool_finds_nothing_to_complain_about(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    send(server)
    text = ask(server, "/metrics").text
    done = subprocess.run(
        [str(program("promtool")), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_status_page_shows_what_an_operator_looks_for(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    with server.dialog() as client:
        client.expect(250, "EHLO cli")
        client.expect(250, "MAIL FROM:<a@r.test>")
        client.expect(550, 'RCPT TO:<"<script>x"@d1.test>')
    wait_for(lambda: "script" in ask(server, "/").text, what="the event")
    page = ask(server, "/")
    assert page.fields["content-type"] == "text/html; charset=utf-8"
    assert str(server.smtp) in page.text
    assert "mx.test" in page.text
    assert "<h2>Certificates</h2>" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text


def test_probes(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    assert ask(server, "/healthz").status == 200
    assert ask(server, "/readyz").status == 200
    assert ask(server, "/debug/pprof/").status == 404
    assert ask(server, "/metrics", "POST").status == 405
    assert ask(server, "/exit", "POST").status == 404


def test_a_draining_server_is_not_ready(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    with server.dialog() as client:
        client.envelope("a@r.test", "user@d1.test")
        client.expect(354, "DATA")
        os.kill(monitoring_pid(server), signal.SIGTERM)  # as systemd does, to all processes
        server.process.send(signal.SIGTERM)
        wait_for(lambda: ask(server, "/readyz").status == 503, what="not ready")
        assert ask(server, "/healthz").status == 200
        client.send(MESSAGE + b".\r\n")
        assert client.reply().code == 250
    assert server.process.wait(10) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.monitoring)


def test_a_monitoring_process_that_dies_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    victim = monitoring_pid(server)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: monitoring_pid(server) not in {0, victim}, what="a new process")
    assert ask(server, "/healthz").status == 200
    send(server)


def test_a_reload_gives_it_the_new_configuration(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    old = monitoring_pid(server)
    assert "chasquid_smtpIn" not in ask(server, "/metrics").text
    text = (server.config.path / "relevo.toml").read_text()
    (server.config.path / "relevo.toml").write_text(f'{text}monitoring.names = "chasquid"\n')
    server.reload()
    wait_for(lambda: monitoring_pid(server) not in {0, old}, what="a new process")
    assert "chasquid_smtpIn" in ask(server, "/metrics").text
    assert "relevo_commands" in ask(server, "/metrics/relevo").text
    assert "ended with" not in server.process.output()


def test_a_token_is_asked_for_everywhere_but_at_the_probes(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings: dict[str, Setting] = {
        "listen.monitoring": "0.0.0.0:0",
        "monitoring.token_file": str(tmp_path / "token"),
    }
    server = start_relevo(settings=settings)
    assert ask(server, "/metrics").status == 401
    assert "www-authenticate" in ask(server, "/").fields
    assert ask(server, "/metrics", Authorization="Bearer wrong").status == 401
    assert ask(server, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    assert ask(server, "/", Authorization=f"Basic {basic}").status == 200
    assert ask(server, "/healthz").status == 200


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"listen.monitoring": ":1099"}, "there is no token", id="open-to-all"),
        pytest.param(
            {**ON, "monitoring.token_file": "absent"}, "monitoring.token_file", id="no-token-file"
        ),
    ],
)
def test_what_would_be_unsafe_is_refused_at_start(
    reaper: Reaper, tmp_path: Path, settings: dict[str, Setting], text: str
) -> None:
    server = RelevoServer(reaper, relevo_config(tmp_path / "relevo", settings=settings))
    assert server.launch().wait(20) == EXIT_CONFIG
    assert text in server.process.output()
    assert "Traceback" not in server.process.output()


def test_a_flood_of_slow_clients_costs_no_mail(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings=ON)
    slow = [socket.create_connection(server.monitoring) for _ in range(100)]
    try:
        for one in slow:
            one.settimeout(0.0)
        send(server)
    finally:
        for one in slow:
            one.close()
    wait_for(lambda: ask(server, "/healthz").status == 200, what="an answer")
