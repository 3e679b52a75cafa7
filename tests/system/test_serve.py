"""The server as its operator meets it: start, stop, reload, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest

from harness.certificates import client_context, write_certificate
from harness.chasquid import listen_for_systemd
from harness.config_dir import Domain, relevo_config
from harness.dialog import ConnectionEnded, Dialog
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

MESSAGE = b"Subject: hello\r\n\r\nx\r\n"
EXIT_CONFIG = 3  # documented in `relevo --help`: the configuration or a file is not right


def send(server: RelevoServer, recipient: str = "user@d1.test") -> None:
    with server.dialog() as client:
        client.envelope("a@r.test", recipient)
        reply = client.message(MESSAGE)
        assert reply.code == 250, reply


def refused_start(server: RelevoServer) -> str:
    """What a server that must not start says; also checks its exit status."""
    status = server.launch().wait(20)
    assert status == EXIT_CONFIG, server.process.output()
    return server.process.output()


def test_term_ends_an_idle_server_within_two_seconds(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    with server.dialog() as idle:
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 2
        assert idle.rest().startswith(b"421 ")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.smtp)


def test_term_in_the_moment_of_a_restart_ends_it(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    server.process.send(signal.SIGUSR2)
    server.wait_for_log("restarting now")
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 10
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.smtp)


def test_its_ports_are_free_again_at_once(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    send(server)
    address = server.smtp
    server.stop()
    again = RelevoServer(
        server.reaper, server.config, options=["--set", f"listen.smtp={address}"]
    ).start()
    assert again.smtp == address
    send(again)


def test_int_ends_it_like_term(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    server.process.send(signal.SIGINT)
    assert server.process.wait(2) == 0


def test_a_running_transaction_may_finish_after_term(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.grace": "20s"})
    with server.dialog() as client:
        client.envelope("a@r.test", "user@d1.test")
        client.expect(354, "DATA")
        client.send(b"Subject: hello\r\n\r\n")
        server.process.send(signal.SIGTERM)
        wait_for(lambda: not accepts(server), what="the listener to close")
        client.send(b"x\r\n.\r\n")
        assert client.reply().code == 250
        assert client.rest().startswith(b"421 ")
    assert server.process.wait() == 0
    server.start()  # what was accepted is delivered, at the latest now
    assert len(server.config.mailbox("user@d1.test").wait()) == 1


def accepts(server: RelevoServer) -> bool:
    try:
        Dialog(server.smtp).close()
    except (OSError, ConnectionEnded):
        return False
    return True


def test_the_grace_period_has_an_end(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.grace": "1s"})
    with server.dialog() as client:
        client.envelope("a@r.test", "user@d1.test")
        client.expect(354, "DATA")
        client.send(b"Subject: hello\r\n\r\n")
        assert server.stop(timeout_s=6) == 0
        assert not client.rest().startswith(b"250")


def test_no_worker_outlives_a_killed_supervisor(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    assert len(server.workers()) == 2
    server.process.send(signal.SIGKILL)
    server.process.wait()
    wait_for(lambda: not server.reaper.left(), timeout_s=5, what="the workers to end")
    server.start()
    send(server)


def test_a_worker_that_dies_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    before = server.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        now = server.workers()
        return victim not in now and 0 not in now and len(now) == len(before)

    wait_for(is_replaced, what="a new worker")
    for _ in range(10):
        send(server)
    server.config.mailbox("user@d1.test").wait(10)


def test_a_worker_that_dies_beside_a_broken_queue_ends_nobody_else(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    before = server.workers()
    lock = server.config.data / "queue.lock"
    lock.rename(lock.with_suffix(".away"))  # its leases cannot be released now
    os.kill(min(before), signal.SIGKILL)
    server.wait_for_log("cannot release what worker")
    lock.with_suffix(".away").rename(lock)
    wait_for(lambda: len(server.workers() - {0}) == len(before), what="a new worker")
    assert max(before) in server.workers()
    send(server)
    assert len(server.config.mailbox("user@d1.test").wait()) == 1


def test_a_second_server_says_which_process_holds_the_data(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    second = RelevoServer(server.reaper, server.config)
    second.log = server.config.path / "second.log"
    text = refused_start(second)
    assert str(server.process.pid) in text
    assert str(server.config.data) in text
    send(server)


def test_a_taken_port_is_named_with_its_key(reaper: Reaper, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = relevo_config(
            tmp_path / "relevo", settings={"listen.submission": [f"127.0.0.1:{port}"]}
        )
        text = refused_start(RelevoServer(reaper, config))
    assert str(port) in text
    assert "listen.submission" in text
    assert "Traceback" not in text


def test_all_errors_of_a_configuration_are_told_at_once(reaper: Reaper, tmp_path: Path) -> None:
    config = relevo_config(
        tmp_path / "relevo", settings={"limits.recipient": 5, "server.workers": "many"}
    )
    text = refused_start(RelevoServer(reaper, config))
    lines = (config.path / "relevo.toml").read_text().splitlines()
    for key in ("limits.recipient", "server.workers"):
        number = next(n for n, line in enumerate(lines, 1) if line.startswith(key + " "))
        assert f"relevo.toml:{number}" in text, text
    assert "recipients" in text, "the nearest valid key"
    assert "Traceback" not in text


def test_set_overrides_a_key(start_relevo: RelevoFactory) -> None:
    server = start_relevo(options=["--set", "hostname=other.test", "--set", "limits.errors=2"])
    with server.dialog() as client:
        assert client.greeting.text.startswith("other.test ")
        client.expect(500, "NONSENSE")
        client.expect(421, "NONSENSE")


def test_hup_reads_users_aliases_and_certificates_again(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"reload.interval": "1h"})
    config = server.config
    with server.dialog() as client:
        client.expect(250, "EHLO c.test")
        client.expect(250, "MAIL FROM:<a@r.test>")
        client.expect(550, "RCPT TO:<newcomer@d1.test>")
    old = (config.chain).read_text()
    config.write_users("d1.test", {"user": "changed", "newcomer": "secret"})
    config.write_aliases("d1.test", "info: newcomer\n")
    write_certificate(config.chain.parent, "mx.test")
    server.reload()

    def sees_the_new_state() -> bool:
        with Dialog(server.submission_tls, tls=True) as client:
            presented = ssl.DER_cert_to_PEM_cert(
                client.tls_socket.getpeercert(binary_form=True) or b""
            )
            client.expect(250, "EHLO c.test")
            return (
                presented.strip() != old.strip()
                and client.log_in("newcomer@d1.test", "secret").code == 235
            )

    for _ in range(4):  # each worker
        wait_for(sees_the_new_state, what="the new user and certificate")
    send(server, "info@d1.test")
    server.config.mailbox("newcomer@d1.test").wait()
    with Dialog(server.submission_tls, tls=True) as client:
        client.expect(250, "EHLO c.test")
        assert client.log_in("user@d1.test", "secret").code == 535


def test_changed_files_are_seen_without_a_signal(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    server.config.write_aliases("d1.test", "late: juan\n")

    def is_known() -> bool:
        with server.dialog() as client:
            client.expect(250, "EHLO c.test")
            client.expect(250, "MAIL FROM:<a@r.test>")
            return client.command("RCPT TO:<late@d1.test>").code == 250

    wait_for(is_known, what="the new alias")


def test_a_bad_edit_keeps_the_last_good_state_and_is_told(start_relevo: RelevoFactory) -> None:
    server = start_relevo(domains={"d1.test": Domain({"user": "secret"}, "good: user\n")})
    server.config.write_aliases("d1.test", "good: user\nthis line has no colon\n")
    server.reload()
    server.wait_for_log("aliases:2")
    for _ in range(4):
        send(server, "good@d1.test")
    problems = "".join(server.status()["problems"])
    assert "aliases:2" in problems, problems


def test_a_bad_configuration_at_hup_is_refused_and_the_old_one_stays(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    path = server.config.path / "relevo.toml"
    path.write_text(path.read_text() + "limits.recipient = 1\n")
    line = len(path.read_text().splitlines())
    server.reload()
    server.wait_for_log(f"relevo.toml:{line}")
    send(server)
    server.config.mailbox("user@d1.test").wait()


def test_hup_opens_the_log_file_again(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    send(server)
    wait_for(lambda: "from=a@r.test" in server.mail_log(), what="the mail log")
    server.config.mail_log.rename(server.config.path / "mail.log.1")
    server.reload()
    wait_for(
        lambda: server.process.output().count("files re-read") == len(server.workers()),
        what="each worker to have re-read its files",
    )
    assert server.config.mail_log.exists()
    for _ in range(6):
        send(server)
    wait_for(lambda: server.mail_log().count(" queued ") == 6, what="lines in the new mail log")


def test_sockets_are_taken_from_systemd_by_name(reaper: Reaper, tmp_path: Path) -> None:
    config = relevo_config(
        tmp_path / "relevo",
        settings={f"listen.{n}": ["systemd"] for n in ("smtp", "submission", "submission_tls")},
    )
    sockets, wrapper = listen_for_systemd()
    ports = [each.getsockname()[1] for each in sockets]
    server = RelevoServer(reaper, config)
    server.start(wrapper=wrapper, pass_fds=[each.fileno() for each in sockets])
    for each in sockets:
        each.close()
    assert [server.smtp.port, server.submission.port, server.submission_tls.port] == ports
    send(server)
    with Dialog(server.submission_tls, tls=True) as client:
        client.expect(250, "EHLO c.test")
        assert client.log_in("user@d1.test", "secret").code == 235


def test_ipv6_is_served(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"listen.smtp": ["[::1]:0", "127.0.0.1:0"]})
    assert server.smtp.host == "::1"
    send(server)
    [message] = server.config.mailbox("user@d1.test").wait()
    assert b"[IPv6:::1]" in message


def test_the_certificate_is_chosen_by_server_name(reaper: Reaper, tmp_path: Path) -> None:
    names = ("mx.test", "mail.other.test")
    server = RelevoServer(reaper, relevo_config(tmp_path / "relevo", certificates=names)).start()
    for name in names:
        context = client_context(server.config.path / "certs" / name / "fullchain.pem")
        with (
            socket.create_connection(server.submission_tls, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as client,
        ):
            assert client.recv(1000).startswith(f"220 {name} ".encode())
    with Dialog(server.submission_tls, tls=True, server_name="unknown.test") as client:
        assert client.greeting.text.startswith("mx.test ")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_old_tls_versions_are_refused(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(server.submission_tls, timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(plain)


def test_connections_above_the_limit_of_a_source_get_421(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"limits.connections_per_source": 5})
    held = [server.dialog() for _ in range(5)]
    assert {each.greeting.code for each in held} == {220}
    with server.dialog() as client:
        assert client.greeting.code == 421
        assert client.rest() == b""
    held.pop().close()

    def is_served() -> bool:
        with server.dialog() as client:
            return client.greeting.code == 220

    wait_for(is_served, what="a free place")
    for each in held:
        each.close()


def test_remote_mail_waits_and_says_why(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"dns.servers": ["127.0.0.1:1"]})  # nobody answers there
    with Dialog(server.submission_tls, tls=True) as client:
        client.expect(250, "EHLO c.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        client.expect(250, "MAIL FROM:<user@d1.test>")
        client.expect(250, "RCPT TO:<friend@r.test>")
        assert client.message(MESSAGE).code == 250

    def listed() -> str:
        process = run_relevo(
            server.reaper, "queue", "list", "--config-dir", server.config.path,
            folder=server.config.path,
        )  # fmt: skip
        assert process.popen.returncode == 0, process.output()
        return process.output() if "friend@r.test" in process.output() else ""

    wait_for(listed, what="the message in the queue")
    wait_for(
        lambda: "failed (temporary)" in server.mail_log(),
        timeout_s=30,
        what="a deferral in the mail log",
    )
    [reason] = [line for line in server.mail_log().splitlines() if "failed (temporary)" in line]
    assert "r.test" in reason
    print(reason)


def test_what_was_accepted_survives_a_restart(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    (server.config.path / "mail").mkdir(exist_ok=True)
    (server.config.path / "mail" / "d1.test").write_text("in the way: no mailbox can be made")
    with server.dialog() as client:
        client.envelope("a@r.test", "user@d1.test")
        assert client.message(MESSAGE).code == 250
    wait_for(lambda: "failed (temporary)" in server.mail_log(), what="a failed attempt")
    server.stop()
    (server.config.path / "mail" / "d1.test").unlink()
    server.start()
    run_relevo(
        server.reaper, "queue", "retry", "--all", "--config-dir", server.config.path,
        folder=server.config.path,
    )  # fmt: skip
    assert len(server.config.mailbox("user@d1.test").wait()) == 1


def test_hup_with_a_log_file_that_cannot_be_opened_changes_nothing(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    log = tmp_path / "relevo.log"
    server = start_relevo(settings={"log.file": str(log)})
    moved = log.rename(tmp_path / "moved.log")
    log.mkdir()
    server.reload()
    wait_for(lambda: "reload refused" in moved.read_text(), what="the refusal in the log")
    assert f"log file {log} cannot be opened" in moved.read_text()
    send(server)
    assert server.stop() == 0


def test_a_log_file_that_cannot_be_opened_is_said_at_start(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start_relevo()
    server.stop()
    server.options = ("--set", f"log.file={tmp_path}")
    assert f"log file {tmp_path} cannot be opened" in refused_start(server)


SLOW_AGENT = "#!/bin/sh\necho $$ >> {0}/begun\nsleep 3\necho $$ >> {0}/ended\n"


def test_a_delivery_command_ends_with_its_worker(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    agent = tmp_path / "agent"
    agent.write_text(SLOW_AGENT.format(tmp_path))
    agent.chmod(0o755)
    server = start_relevo(
        settings={
            "delivery.local": "mda",
            "delivery.mda_command": str(agent),
            "delivery.mda_arguments": ["%to%"],
        }
    )
    send(server)
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    wait_for(lambda: begun.exists() and begun.read_text(), what="the command to run")
    command = int(begun.read_text())
    parent = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: ended.exists() and ended.read_text(), what="the message to be delivered")
    first, second = begun.read_text().split()
    assert first == str(command)
    assert ended.read_text().split() == [second]


def test_a_reload_of_many_aliases_does_not_hold_the_loop(start_relevo: RelevoFactory) -> None:
    aliases = "".join(f"alias{number}: user\n" for number in range(60_000))
    server = start_relevo(
        domains={"d1.test": Domain({"user": "secret"}, aliases=aliases)},
        settings={"server.workers": 1, "server.watch_loop": True},
    )
    before = server.status()["counters"]["loop_held_us"]
    server.reload()
    server.wait_for_log("configuration and files re-read")
    send(server, "alias7@d1.test")
    assert server.status()["counters"]["loop_held_us"] < before + 250_000
