"""What happens to an accepted message: MDA, pipes, retries, DSNs (rows Q1–Q14, Q32)."""

from __future__ import annotations

import email
import email.policy
import re
import shlex
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import USERS, ConfigDir, Delivery, Domain
from conformance.chasquid.servers import Column, Server, Settings, running
from conformance.chasquid.stores import make_older, waiting_recipients
from harness.waiting import wait_for
from relevo.queue import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from conformance.chasquid.conftest import StartServer

LOCAL_SENDER = "user@d1.test"  # its DSNs come back to the MDA
SLOW_SENDER = "slow@pass.test"
QUICK_COMMANDS = Settings(("delivery.command_timeout=1s",))
MDA_DEADLINE_S = 30  # chasquid's, which no flag shortens
ATTACHED_LIMIT = 256 * 1024
USERS_WITH_FATE = {**USERS, "temp": "", "perm": "", "slow": ""}
PIPES = {
    "pipe-1": "exit 1",
    "pipe-75": "exit 75",
    "pipe-slow": "exec sleep 60",
}


@pytest.fixture(scope="module")
def fates(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Recipients whose MDA or pipe fails in each way; the slow one is asked first."""
    root = tmp_path_factory.mktemp(f"fates-{column.value}")
    aliases = ""
    for name, shell in PIPES.items():
        script = root / name
        script.write_text(f"#!/bin/sh\n{shell}\n")
        script.chmod(0o755)
        aliases += f"{name}: | {shlex.quote(str(script))}\n"
    config = ConfigDir(root, domains={"d1.test": Domain(aliases, users=USERS_WITH_FATE)})
    config.order("temp@d1.test", "exit 75")
    config.order("perm@d1.test", "exit 1")
    config.order("slow@d1.test", "exec sleep 60")
    with running(Server(column, config, QUICK_COMMANDS)) as server:
        send(server, "slow@d1.test", sender=SLOW_SENDER)
        yield server


def send(server: Server, *recipients: str, sender: str = LOCAL_SENDER, size: int = 0) -> bytes:
    """Deliver a message and return its marker; `size` octets are added to its body."""
    marker = uuid.uuid4().hex.encode()
    line = b"x" * 62 + b"\r\n"
    body = b"Message-ID: <m@d1.test>\r\nX-Marker: " + marker + b"\r\n\r\nx\r\n"
    with server.session() as client:
        client.deliver(recipients, sender=sender, message=body + line * (size // len(line)))
    return marker


def is_report(delivery: Delivery) -> bool:
    return b"X-Failed-Recipients:" in delivery.message


def dsn_of(server: Server, marker: bytes) -> EmailMessage:
    """The report about a message: it comes to the sender and has the original attached."""
    delivery = wait_for(
        lambda: next((d for d in server.config.deliveries(marker) if is_report(d)), None),
        what="a DSN",
    )
    assert delivery.arguments[1] == "<>"
    return email.message_from_bytes(delivery.content, policy=email.policy.SMTP)


def unique_sender() -> str:
    return f"{uuid.uuid4().hex}@pass.test"


@pytest.mark.case("Q1")
def test_mda_arguments(server: Server) -> None:
    (delivery,) = server.config.wait_for_deliveries(
        1, send(server, "us.er+tag@d1.test", sender="a@pass.test")
    )
    assert delivery.arguments == (
        "user@d1.test",
        "a@pass.test",
        "xusery",
        "a",
        "pass.test",
        "d1.test",
    )


@pytest.mark.case("Q2")
def test_mda_arguments_for_the_null_sender(server: Server) -> None:
    (delivery,) = server.config.wait_for_deliveries(1, send(server, LOCAL_SENDER, sender=""))
    assert delivery.arguments == ("user@d1.test", "<>", "xusery", "<>", "", "d1.test")


@pytest.mark.case("Q3")
def test_mda_arguments_have_no_shell_characters(server: Server) -> None:
    sender = "a$b'c*d&e%f{g}h`i!j/k|l@pass.test"
    (delivery,) = server.config.wait_for_deliveries(1, send(server, LOCAL_SENDER, sender=sender))
    assert delivery.arguments[1] == "abcdefghijkl@pass.test"
    assert delivery.arguments[3] == "abcdefghijkl"


@pytest.mark.case("Q4")
def test_mda_gets_crlf_lines(server: Server) -> None:
    (delivery,) = server.config.wait_for_deliveries(1, send(server, LOCAL_SENDER))
    assert delivery.message.count(b"\n") == delivery.message.count(b"\r\n")


@pytest.mark.case("Q5")
def test_mda_exit_0_is_sent(fates: Server) -> None:
    sender = unique_sender()
    send(fates, LOCAL_SENDER, sender=sender)
    fates.config.wait_for_log(f"from={sender} to=user@d1.test sent")
    fates.config.wait_for_log(f"from={sender} all done")


@pytest.mark.case("Q5")
def test_mda_exit_75_is_tried_again(fates: Server) -> None:
    sender = unique_sender()
    send(fates, "temp@d1.test", sender=sender)
    fates.config.wait_for_log(f"from={sender} to=temp@d1.test failed (temporary): ")
    fates.config.wait_for_log(f"from={sender} completed loop, next in ")


@pytest.mark.case("Q5")
def test_other_mda_exit_is_a_failure_with_a_dsn(fates: Server) -> None:
    marker = send(fates, "perm@d1.test")
    report = dsn_of(fates, marker)
    assert "perm@d1.test" in report["X-Failed-Recipients"]
    fates.config.wait_for_log(f"from={LOCAL_SENDER} to=perm@d1.test failed (permanent): ")


@pytest.mark.case("Q7")
def test_missing_mda_is_tried_again(start: StartServer) -> None:
    server = start(keys={"mail_delivery_agent_bin": '"/nonexistent/mda"'})
    send(server, LOCAL_SENDER, sender="a@pass.test")
    server.config.wait_for_log("to=user@d1.test failed (temporary): ", timeout=3)


@pytest.mark.case("Q8")
def test_pipe_exit_1_is_a_failure_with_a_dsn(fates: Server) -> None:
    report = dsn_of(fates, send(fates, "pipe-1@d1.test"))
    assert "pipe-1@d1.test" in report["X-Failed-Recipients"]


@pytest.mark.case("Q9")
@pytest.mark.parametrize("name", ["pipe-75", "pipe-slow"])
def test_pipe_trouble_is_tried_again(fates: Server, name: str) -> None:
    sender = unique_sender()
    send(fates, f"{name}@d1.test", sender=sender)
    fates.config.wait_for_log(f"from={sender}", "failed (temporary): ", timeout=5)


@pytest.mark.case("Q10")
def test_dsn(fates: Server) -> None:
    marker = send(fates, "perm@d1.test", size=2 * ATTACHED_LIMIT)
    report = dsn_of(fates, marker)
    assert "postmaster-dsn@d1.test" in report["From"]
    assert LOCAL_SENDER in report["To"]
    assert "perm@d1.test" in report["X-Failed-Recipients"]
    assert report["Auto-Submitted"].startswith("auto-")
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    text, status, original = report.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() in {
        "message/delivery-status",
        "message/global-delivery-status",
    }
    assert original.get_content_type() in {"message/rfc822", "message/global"}
    (attached_message,) = original.iter_parts()
    attached = attached_message.as_bytes().replace(b"\r\n", b"\n")
    assert marker in attached
    assert len(attached) <= ATTACHED_LIMIT + 256, "the parser folds fields anew"


@pytest.mark.case("Q11")
def test_failure_of_a_null_sender_message_has_no_dsn(fates: Server) -> None:
    marker = send(fates, "perm@d1.test", sender="")
    fates.config.wait_for_log("from=<> to=perm@d1.test failed (permanent): ")
    fates.config.wait_for_log("from=<> all done")
    control = send(fates, "perm@d1.test")
    dsn_of(fates, control)
    assert [d.recipient for d in fates.config.deliveries(marker)] == ["perm@d1.test"]


@pytest.mark.case("Q12")
def test_too_old_message_is_given_up(start: StartServer) -> None:
    server = start(
        keys={"give_up_send_after": '"1s"'},
        domains={"d1.test": Domain(users=USERS_WITH_FATE)},
    )
    server.config.order("temp@d1.test", "exit 75")
    marker = send(server, "temp@d1.test")
    server.config.wait_for_log("to=temp@d1.test failed (temporary): ")
    server.stop()
    time.sleep(1.2)  # the message must be older than give_up_send_after
    server.start()
    report = dsn_of(server, marker)
    _, status, _ = report.iter_parts()
    assert "Status: 4.0.0" in status.as_string()
    server.config.wait_for_log(f"from={LOCAL_SENDER} all done")


def seconds(duration: str) -> float:
    """Go's duration text: 1m24.5s."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


@pytest.mark.case("Q13")
@pytest.mark.parametrize(("age_min", "shortest_min"), [(0, 1), (2, 5), (7, 10), (30, 20)])
def test_delay_grows_with_age(start: StartServer, age_min: int, shortest_min: int) -> None:
    server = start(domains={"d1.test": Domain(users=USERS_WITH_FATE)})
    server.config.order("temp@d1.test", "exit 75")
    send(server, "temp@d1.test", sender="a@pass.test")
    lines = server.config.wait_for_log("completed loop, next in ")
    if age_min:
        server.stop()
        make_older(server.column, server.config.data_dir, age_min * 60)
        server.start()
        lines = server.config.wait_for_log("completed loop, next in ", count=2)
    delay = seconds(lines[-1].partition("next in ")[2])
    assert shortest_min * 60 <= delay <= (shortest_min + 1) * 60


@pytest.mark.case("Q14")
def test_restart_tries_pending_recipients_at_once(start: StartServer) -> None:
    server = start(domains={"d1.test": Domain(users=USERS_WITH_FATE)})
    server.config.order("temp@d1.test", "exit 75")
    marker = send(server, LOCAL_SENDER, "temp@d1.test", sender="a@pass.test")
    server.config.wait_for_log("completed loop, next in ")
    assert len(server.config.deliveries(marker)) == 2
    server.restart()
    server.config.wait_for_log("completed loop, next in ", count=2)
    tried = [delivery.recipient for delivery in server.config.deliveries(marker)]
    assert sorted(tried) == ["temp@d1.test", "temp@d1.test", "user@d1.test"]


@pytest.mark.case("Q32")
def test_nothing_of_a_delivered_message_is_left(start: StartServer) -> None:
    """Small and large ones are kept in different places; none has a row or a file afterwards."""
    server = start(settings=Settings(("history.max_age=1s",)))
    sizes = (0, 20_000, 900_000)
    markers = [send(server, LOCAL_SENDER, sender="a@pass.test", size=size) for size in sizes]
    for marker in markers:
        server.config.wait_for_deliveries(1, marker)
    server.config.wait_for_log("from=a@pass.test all done", count=len(sizes))
    assert waiting_recipients(server.column, server.config.data_dir) == []
    with open_reader(server.config.data_dir) as reader:
        counts = reader.counts()
        assert (counts.messages, counts.units) == (0, 0)
        wait_for(lambda: not reader.counts().events, what="the end of its history")


@pytest.mark.case("Q6")
def test_slow_mda_is_tried_again(fates: Server) -> None:
    """The last of the file: its deadline runs while the others do."""
    fates.config.wait_for_log(
        f"from={SLOW_SENDER} to=slow@d1.test failed (temporary): ", timeout=MDA_DEADLINE_S + 10
    )
