"""The post-data hook: what it is told and what its end means (rows H1–H52, but H44)."""

from __future__ import annotations

import socket
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.dialogue import MESSAGE, Client
from conformance.chasquid.hooks import Hooks, processes_with
from conformance.chasquid.servers import FAST_RELOAD, Column, Server, Settings, running
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.conftest import StartServer

POST_DATA = "post-data"
VARIABLES = {
    "USER", "SHELL", "PATH", "PWD", "REMOTE_ADDR", "EHLO_DOMAIN", "EHLO_DOMAIN_RAW", "MAIL_FROM",
    "RCPT_TO", "AUTH_AS", "ON_TLS", "FROM_LOCAL_DOMAIN", "SPF_PASS",
}  # fmt: skip
SHORT = Settings(relevo=("hooks.post_data_timeout=1s",))


@pytest.fixture(scope="module")
def hooked(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = ConfigDir(tmp_path_factory.mktemp(f"hooks-{column.value}"))
    config.write_aliases("a: user, juan\n")
    Hooks(config.path)
    with running(Server(column, config, FAST_RELOAD + SHORT)) as started:
        yield started


@pytest.fixture
def hooks(hooked: Server) -> Hooks:
    found = Hooks(hooked.config.path)
    found.clear()
    return found


def marked() -> tuple[bytes, bytes]:
    marker = uuid.uuid4().hex.encode()
    return marker, b"X-Marker: " + marker + b"\r\n\r\nx\r\n"


def send(server: Server, message: bytes = MESSAGE, *recipients: str) -> tuple[int, str]:
    """One message from outside: code and text of the final reply."""
    with server.session() as client:
        client.envelope(recipients or ("user@d1.test",))
        reply = client.data(message)
        assert len(reply.lines) == 1
        return reply.code, reply.lines[0]


def delivered(server: Server) -> bytes:
    """Send a message and return it as it was delivered."""
    marker, message = marked()
    assert send(server, message)[0] == 250
    (delivery,) = server.config.wait_for_deliveries(1, marker)
    return delivery.content


# what becomes of the message


@pytest.mark.case("H1")
@pytest.mark.usefixtures("hooks")
def test_without_a_hook_nothing_happens(hooked: Server) -> None:
    assert b"X-Marker" in delivered(hooked)


@pytest.mark.case("H2")
def test_dangling_link_is_no_hook(hooked: Server, hooks: Hooks) -> None:
    hooks.path(POST_DATA).symlink_to("nowhere")
    assert b"X-Marker" in delivered(hooked)


@pytest.mark.case("H3")
def test_exit_0_without_output_changes_nothing(hooked: Server, hooks: Hooks) -> None:
    first = delivered(hooked).partition(b":")[0]
    hooks.write(POST_DATA, "exit 0")
    assert delivered(hooked).partition(b":")[0] == first


@pytest.mark.parametrize(
    ("text", "top"),
    [
        pytest.param("echo 'X-A: 1'", b"X-A: 1\r\n", id="one", marks=pytest.mark.case("H4")),
        pytest.param(
            r"printf 'X-A: 1\nX-B: 2\n\tfolded\n'",
            b"X-A: 1\r\nX-B: 2\r\n\tfolded\r\n",
            id="two-and-folded",
            marks=pytest.mark.case("H5"),
        ),
        pytest.param("printf 'X: y'", b"X: y\r\n", id="no-line-end", marks=pytest.mark.case("H9")),
    ],
)
def test_output_goes_on_top(hooked: Server, hooks: Hooks, text: str, top: bytes) -> None:
    hooks.write(POST_DATA, text)
    content = delivered(hooked)
    assert content.startswith(top)
    following = content[len(top) :].partition(b":")[0]
    assert following in {b"Authentication-Results", b"Received-SPF", b"Received"}


@pytest.mark.case("H10")
def test_crlf_of_a_hook_is_one_line_end(hooked: Server, hooks: Hooks) -> None:
    """Whether the MDA gets LF or CRLF, it is the same in every line."""
    hooks.write(POST_DATA, r"printf 'X: y\r\n'")
    marker, message = marked()
    assert send(hooked, message)[0] == 250
    (delivery,) = hooked.config.wait_for_deliveries(1, marker)
    assert delivery.content.startswith(b"X: y\r\n")
    assert delivery.message.count(b"\r") in {0, delivery.message.count(b"\n")}


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        pytest.param("echo hello", b"hello", id="no-colon", marks=pytest.mark.case("H6")),
        pytest.param(r"printf 'X: y\n\n'", b"X: y", id="blank", marks=pytest.mark.case("H7")),
        pytest.param(r"printf ' X: y\n'", b"X: y", id="fold-first", marks=pytest.mark.case("H8")),
        pytest.param(
            "echo 'this is : no'", b"this is", id="bad-name", marks=pytest.mark.case("H11")
        ),
    ],
)
def test_bad_output_is_left_out_as_a_whole(
    hooked: Server, hooks: Hooks, text: str, absent: bytes
) -> None:
    hooks.write(POST_DATA, text)
    assert absent not in delivered(hooked)
    if hooked.column is Column.RELEVO:
        assert "output ignored" in hooked.output_since_mark()


@pytest.mark.parametrize(
    ("text", "code", "ending"),
    [
        pytest.param("exit 20", 554, "two", id="20", marks=pytest.mark.case("H12")),
        *(
            pytest.param(f"exit {n}", 451, "two", id=str(n), marks=pytest.mark.case("H13"))
            for n in (1, 19, 21, 75, 255)
        ),
    ],
)
def test_exit_status_and_last_line_make_the_reply(
    hooked: Server, hooks: Hooks, text: str, code: int, ending: str
) -> None:
    marker, message = marked()
    hooks.write(POST_DATA, f"echo one; echo two; {text}")
    found, reply = send(hooked, message)
    assert found == code
    assert reply.endswith(ending)
    hooks.remove(POST_DATA)
    assert delivered(hooked)
    assert hooked.config.deliveries(marker) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("printf nonl", "nonl", id="no-lf", marks=pytest.mark.case("H14")),
        pytest.param(r"printf 'text\n\n  \n'", "text", id="blank", marks=pytest.mark.case("H16")),
        pytest.param(r"printf 'text\r\n'", "text", id="cr", marks=pytest.mark.case("H17")),
    ],
)
def test_last_line_that_is_not_blank_is_the_text(
    hooked: Server, hooks: Hooks, text: str, expected: str
) -> None:
    hooks.write(POST_DATA, f"{text}; exit 20")
    assert send(hooked) == (554, f"5.7.1 {expected}")


@pytest.mark.case("H15")
def test_refusal_without_output_has_a_text(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "exit 20")
    code, text = send(hooked)
    assert code == 554
    assert text.removeprefix("5.7.1").strip()


@pytest.mark.case("H17")
def test_reply_ends_in_exactly_one_crlf(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, r"printf 'text\r\n'; exit 20")
    assert raw_reply(hooked) == b"554 5.7.1 text\r\n"


@pytest.mark.case("H18")
def test_controls_and_octets_that_are_no_utf_8_never_reach_the_client(
    hooked: Server, hooks: Hooks
) -> None:
    hooks.write(POST_DATA, r"printf 'a\033b\000c\377d\n'; exit 20")
    reply = raw_reply(hooked)
    assert reply.startswith(b"554 5.7.1 a")
    assert reply.count(b"\r\n") == 1
    assert not set(reply[:-2]) & {*range(0x20), 0x7F, 0xFF}
    reply.decode()


@pytest.mark.case("H19")
def test_long_text_is_cut(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "head -c 60000 /dev/zero | tr '\\0' x; echo; exit 20")
    reply = raw_reply(hooked)
    assert reply.startswith(b"554 5.7.1 xxx")
    assert len(reply) <= 512
    hooks.write(POST_DATA, "head -c 300000 /dev/zero | tr '\\0' x; echo; exit 20")
    reply = raw_reply(hooked)
    assert reply[:1] in {b"4", b"5"}
    assert len(reply) <= 512


def raw_reply(server: Server) -> bytes:
    """The octets of the reply to a message."""
    with socket.create_connection(server.config.smtp, 10) as connection:
        stream = connection.makefile("rwb")
        stream.readline()
        for line in (b"HELO cli", b"MAIL FROM:<a@pass.test>", b"RCPT TO:<user@d1.test>", b"DATA"):
            stream.write(line + b"\r\n")
            stream.flush()
            assert stream.readline()[:1] in {b"2", b"3"}
        stream.write(MESSAGE + b".\r\n")
        stream.flush()
        return stream.readline()


# what can go wrong


@pytest.mark.case("H20")
def test_hook_that_is_killed_is_451(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "kill -9 $$")
    assert send(hooked)[0] == 451


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("no-run-bit", marks=pytest.mark.case("H21")),
        pytest.param("no-interpreter-line", marks=pytest.mark.case("H22")),
        pytest.param("folder", marks=pytest.mark.case("H23")),
    ],
)
def test_hook_that_cannot_be_run_is_451(hooked: Server, hooks: Hooks, kind: str) -> None:
    make_unusable(hooks, kind)
    assert send(hooked)[0] == 451


@pytest.mark.case("H24")
@pytest.mark.parametrize("kind", ["no-run-bit", "no-interpreter-line", "folder"])
def test_reply_for_it_has_a_text(hooked: Server, hooks: Hooks, kind: str) -> None:
    make_unusable(hooks, kind)
    code, text = send(hooked)
    assert code == 451
    assert text.removeprefix("4.7.1").strip()


def make_unusable(hooks: Hooks, kind: str) -> None:
    match kind:
        case "no-run-bit":
            hooks.write(POST_DATA, "exit 0", mode=0o644)
        case "no-interpreter-line":
            hooks.write(POST_DATA, "exit 0\n", shell=False)
        case _:
            hooks.path(POST_DATA).mkdir()


@pytest.mark.case("H25")
def test_deadline_is_451(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "exec sleep 600")
    start = time.monotonic()
    assert send(hooked)[0] == 451
    assert 0.9 <= time.monotonic() - start < 3


@pytest.mark.case("H26")
def test_deadline_ends_children_too(hooked: Server, hooks: Hooks) -> None:
    token = uuid.uuid4().hex
    hooks.write(POST_DATA, f"export TOKEN={token}\nsleep 30")
    start = time.monotonic()
    assert send(hooked)[0] == 451
    assert time.monotonic() - start < 3
    wait_for(lambda: not processes_with(token), timeout_s=1, what="the end of the sleep")


@pytest.mark.case("H27")
def test_what_stays_in_the_background_is_not_waited_for(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "(sleep 15) & exit 0")
    start = time.monotonic()
    assert send(hooked)[0] == 250
    assert time.monotonic() - start < 0.9


@pytest.mark.case("H28")
def test_endless_output_is_451(hooked: Server, hooks: Hooks) -> None:
    token = uuid.uuid4().hex
    hooks.write(POST_DATA, f"export TOKEN={token}\nyes | head -c 100000000")
    start = time.monotonic()
    assert send(hooked)[0] == 451
    assert time.monotonic() - start < 0.9
    wait_for(lambda: not processes_with(token), timeout_s=1, what="the end of its processes")


@pytest.mark.case("H29")
def test_hook_need_not_read(start: StartServer) -> None:
    server = start(keys={"max_data_size_mb": "10"})
    Hooks(server.config.path).write(POST_DATA, "exit 0")
    line = b"x" * 998 + b"\r\n"
    assert send(server, MESSAGE + line * 5000)[0] == 250


# what it is told


@pytest.mark.case("H30", "H31")
def test_environment_of_a_stranger(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.session() as client:
        client.deliver()
        port = client.local_port
    (call,) = hooks.calls()
    environment = call.environment
    assert set(environment) == VARIABLES
    assert environment["REMOTE_ADDR"] == f"127.0.0.1:{port}".encode()
    assert environment["AUTH_AS"] == b""
    assert environment["ON_TLS"] == b"0"
    assert environment["FROM_LOCAL_DOMAIN"] == b"0"


@pytest.mark.case("H32")
def test_ipv6_client(start: StartServer) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    server = start(keys={"submission_address": f'"[::1]:{port}"'})
    hooks = Hooks(server.config.path)
    hooks.write(POST_DATA, hooks.recorder)
    with Client(("::1", port)) as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        client.login()
        client.deliver()
        own = client.local_port
    (call,) = hooks.calls()
    assert call.environment["REMOTE_ADDR"] == f"[::1]:{own}".encode()


@pytest.mark.case("H34")
def test_environment_of_a_user(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.authenticated() as client:
        client.deliver(sender="user@d1.test")
    (call,) = hooks.calls()
    expected = {"AUTH_AS": b"user@d1.test", "ON_TLS": b"1"}
    expected |= {"FROM_LOCAL_DOMAIN": b"1", "SPF_PASS": b"0"}
    assert {name: call.environment[name] for name in expected} == expected


@pytest.mark.case("H35")
def test_null_reverse_path(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.session() as client:
        client.deliver(sender="")
    (call,) = hooks.calls()
    expected = {"MAIL_FROM": b"<>", "FROM_LOCAL_DOMAIN": b"1", "SPF_PASS": b"0"}
    assert {name: call.environment[name] for name in expected} == expected


@pytest.mark.case("H36")
def test_hello_name(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    name = "cli;e$(x).ex[1:2]_ñ"
    with hooked.connect() as client:
        client.ehlo(name)
        client.deliver()
    (call,) = hooks.calls()
    assert call.environment["EHLO_DOMAIN"] == b"cliex.ex[1:2]"
    assert call.environment["EHLO_DOMAIN_RAW"] == name.encode()


@pytest.mark.case("H37")
def test_local_recipients_are_normalized(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.session() as client:
        client.deliver(["USER+Ab@D1.test", "us.er@d1.test"])
    (call,) = hooks.calls()
    assert call.environment["RCPT_TO"] == b"user+ab@d1.test us.er@d1.test"


@pytest.mark.case("H38")
def test_foreign_recipient_keeps_its_local_part(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.authenticated() as client:
        client.deliver(["Foo@R.TEST"], sender="user@d1.test")
    (call,) = hooks.calls()
    assert call.environment["RCPT_TO"] == b"Foo@r.test"


@pytest.mark.case("H39")
def test_reverse_path_keeps_its_local_part(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.session() as client:
        client.deliver(sender="Zed@PASS.test")
    (call,) = hooks.calls()
    assert call.environment["MAIL_FROM"] == b"Zed@pass.test"


@pytest.mark.case("H40")
def test_nul_in_the_hello_name_keeps_nothing_from_running(hooked: Server, hooks: Hooks) -> None:
    """A server may also refuse such a name at once; then no message comes with it."""
    hooks.write(POST_DATA, hooks.recorder)
    with hooked.connect() as client:
        if client.command(b"EHLO c\0li").code == 250:
            client.deliver()
            (call,) = hooks.calls()
            assert call.environment["EHLO_DOMAIN_RAW"] == b"cli"
        else:
            client.ehlo()
            client.deliver()
            assert len(hooks.calls()) == 1


@pytest.mark.case("H41")
def test_working_directory(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked)
    (call,) = hooks.calls()
    assert call.directory == call.environment["PWD"].decode() == str(hooked.config.path)


@pytest.mark.case("H42")
def test_stdin_is_the_message_with_our_fields_on_top(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked, b"A: b\r\n\r\none\r\ntwo\r\n")
    (call,) = hooks.calls()
    assert call.stdin.endswith(b"\nA: b\n\none\ntwo\n")
    assert call.stdin.index(b"Received: from ") < call.stdin.index(b"\nA: b\n")
    assert call.arguments == ()


@pytest.mark.case("H43")
def test_stdin_has_no_cr(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked, b"A: b\r\n\r\none\r\ntwo\r\n")
    (call,) = hooks.calls()
    assert b"\r" not in call.stdin


@pytest.mark.case("H45")
def test_dots_are_unstuffed(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked, b"A: b\r\n\r\n..hi\r\n")
    (call,) = hooks.calls()
    assert call.stdin.endswith(b"\n\n.hi\n")


@pytest.mark.case("H46")
def test_it_runs_once_a_message(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked, MESSAGE, "user@d1.test", "juan@d1.test", "rx@d1.test")
    (call,) = hooks.calls()
    assert call.environment["RCPT_TO"] == b"user@d1.test juan@d1.test rx@d1.test"


@pytest.mark.case("H47")
def test_recipients_are_those_before_alias_expansion(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    send(hooked, MESSAGE, "a@d1.test")
    (call,) = hooks.calls()
    assert call.environment["RCPT_TO"] == b"a@d1.test"


# when it is asked


@pytest.mark.case("H48")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"Received: x\r\n" * 51 + MESSAGE, id="loop"),
        pytest.param(b"no header\r\n\r\nx\r\n", id="unparsable"),
    ],
)
def test_not_asked_about_a_message_that_is_refused_anyway(
    hooked: Server, hooks: Hooks, message: bytes
) -> None:
    hooks.write(POST_DATA, hooks.recorder)
    assert send(hooked, message)[0] == 554
    assert hooks.calls() == []


@pytest.mark.case("H49")
def test_refusal_ends_the_transaction(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "exit 1")
    with hooked.session() as client:
        client.envelope()
        assert client.data().code == 451
        assert client.command("DATA").code == 503


@pytest.mark.case("H50")
def test_refusal_is_in_the_mail_log(hooked: Server, hooks: Hooks) -> None:
    text = uuid.uuid4().hex
    hooks.write(POST_DATA, f"echo {text}; exit 20")
    send(hooked)
    (line,) = hooked.config.wait_for_log(text)
    assert line.endswith(f"rejected from=a@pass.test to=[user@d1.test] - {text}")


@pytest.mark.case("H51")
def test_edit_counts_for_the_next_mail(hooked: Server, hooks: Hooks) -> None:
    hooks.write(POST_DATA, "exit 20")
    assert send(hooked)[0] == 554
    hooks.write(POST_DATA, "exit 0")
    assert send(hooked)[0] == 250
    hooks.write(POST_DATA, "exit 1")
    assert send(hooked)[0] == 451
    hooks.remove(POST_DATA)
    assert send(hooked)[0] == 250


@pytest.mark.case("H52")
def test_not_asked_about_a_dsn(hooked: Server, hooks: Hooks) -> None:
    """The MDA refuses for good, so the sender, who is ours, gets a DSN."""
    hooks.write(POST_DATA, hooks.recorder)
    hooked.config.order("juan@d1.test", "exit 20")
    marker, message = marked()
    with hooked.authenticated() as client:
        client.deliver(["juan@d1.test"], sender="user@d1.test", message=message)
    wait_for(
        lambda: any(
            delivery.recipient == "user@d1.test" for delivery in hooked.config.deliveries(marker)
        ),
        timeout_s=20,
        what="the DSN",
    )
    assert len(hooks.calls()) == 1
