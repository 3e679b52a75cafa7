"""The alias hooks: what they are asked, what they answer, what their failure means (A1–A27)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.hooks import Hooks, processes_with
from conformance.chasquid.servers import FAST_RELOAD, Column, Server, Settings, running
from harness.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.chasquid.conftest import StartServer

RESOLVE = "alias-resolve"
EXISTS = "alias-exists"
DEADLINE = 5.0
SLACK = 1.5  # seconds that a busy machine may add
# What an earlier test cached must not count in a later one that uses the same address.
NO_CACHE = Settings(relevo=("hooks.cache_ttl=0s", "hooks.negative_ttl=0s"))


@pytest.fixture(scope="module")
def hooked(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = ConfigDir(tmp_path_factory.mktemp(f"alias-hooks-{column.value}"))
    config.write_aliases("s: user\nal: user\n")
    Hooks(config.path)
    with running(Server(column, config, FAST_RELOAD + NO_CACHE)) as started:
        yield started


@pytest.fixture
def hooks(hooked: Server) -> Hooks:
    found = Hooks(hooked.config.path)
    found.clear()
    return found


def answers(address: str, output: str) -> str:
    """A hook that prints this for one address, and nothing for others."""
    return f"if [ \"$1\" = '{address}' ]; then printf '%s\\n' '{output}'; fi"


def rcpt(server: Server, recipient: str, *, timeout: float = 30) -> str:
    """The reply to RCPT, as one text."""
    with server.connect(timeout=timeout) as client:
        client.ehlo()
        client.expect("MAIL FROM:<a@pass.test>", "250")
        return client.command(f"RCPT TO:<{recipient}>").text


def targets(server: Server, recipient: str, count: int = 1) -> list[str]:
    return server.final_targets(recipient, uuid.uuid4().hex, count)


# alias-resolve


@pytest.mark.case("A1")
def test_hook_makes_an_address_exist(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, answers("new@d1.test", "x@r.test"))
    assert targets(hooked, "new@d1.test") == ["x@r.test"]


@pytest.mark.case("A2")
def test_how_it_is_called(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, hooks.recorder)
    rcpt(hooked, "new@d1.test")
    calls = hooks.calls()
    assert calls
    assert {len(call.arguments) for call in calls} == {1}
    assert calls[0].arguments == ("new@d1.test",)
    assert {call.directory for call in calls} == {str(hooked.config.path)}
    assert {call.stdin for call in calls} == {b""}


@pytest.mark.case("A3")
def test_no_output_leaves_a_user_alone(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, "exit 0")
    assert targets(hooked, "user@d1.test") == ["user@d1.test"]


@pytest.mark.case("A4")
def test_no_output_for_an_unknown_address_is_550(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, "exit 0")
    assert rcpt(hooked, "nobody@d1.test").startswith("550 5.1.1")


@pytest.mark.case("A5")
def test_output_may_be_a_list(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, answers("new@d1.test", "p, q@r.test"))
    assert targets(hooked, "new@d1.test", 2) == ["p@d1.test", "q@r.test"]


@pytest.mark.case("A6")
def test_output_may_be_a_pipe(hooked: Server, hooks: Hooks) -> None:
    script = hooks.config_dir.parent / "pipe"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {hooks.note}\n')
    script.chmod(0o755)
    hooks.note.unlink(missing_ok=True)
    hooks.write(RESOLVE, answers("new@d1.test", f"| {script} a, b"))
    with hooked.session() as client:
        client.deliver(["new@d1.test"])
    wait_for(hooks.note.exists, timeout_s=10, what="the call of the pipe")
    wait_for(lambda: hooks.note.read_text() == "a,\nb\n", timeout_s=10, what="its arguments")


@pytest.mark.case("A7")
def test_output_is_added_to_the_file(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, answers("s@d1.test", "x@r.test"))
    assert targets(hooked, "s@d1.test", 2) == ["user@d1.test", "x@r.test"]


@pytest.mark.case("A8")
def test_asked_as_given_and_then_cleaned(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, hooks.recorder)
    with hooked.session() as client:
        client.deliver(["us.er+t@d1.test"])
    asked = [call.arguments[0] for call in hooks.calls()]
    assert "us.er+t@d1.test" in asked
    assert "user@d1.test" in asked[asked.index("us.er+t@d1.test") :]


@pytest.mark.case("A9")
def test_the_asked_address_itself_is_a_loop(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, 'echo "$1"')
    with hooked.session() as client:
        client.envelope(["user@d1.test"])
        reply = client.data()
    assert reply.text.startswith("451 4.3.0"), reply


@pytest.mark.case("A10")
def test_failure_at_data_queues_nothing_for_anybody(hooked: Server, hooks: Hooks) -> None:
    marker = uuid.uuid4().hex
    with hooked.session() as client:
        client.envelope(["user@d1.test", "juan@d1.test"], sender=f"{marker}@pass.test")
        hooks.write(RESOLVE, 'case "$1" in juan@*) exit 1;; esac')
        reply = client.data()
    assert reply.text.startswith("451 4.3.0"), reply
    hooks.remove(RESOLVE)
    assert targets(hooked, "user@d1.test") == ["user@d1.test"]
    assert hooked.config.log_lines(marker, " queued ") == []
    assert hooked.config.log_lines(marker, " sent") == []


@pytest.mark.case("A11")
def test_failure_at_rcpt_is_451(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, "exit 1")
    assert rcpt(hooked, "nobody@d1.test").startswith("451")


@pytest.mark.case("A12")
def test_failure_costs_a_user_nothing_at_rcpt(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, "exit 1")
    assert rcpt(hooked, "user@d1.test").startswith("250")


@pytest.mark.case("A13")
def test_deadline_at_rcpt(hooked: Server, hooks: Hooks) -> None:
    token = uuid.uuid4().hex
    hooks.write(RESOLVE, f"export TOKEN={token}\nsleep 20")
    start = time.monotonic()
    assert rcpt(hooked, "nobody@d1.test").startswith("451")
    assert DEADLINE - 0.1 <= time.monotonic() - start < DEADLINE + SLACK
    wait_for(lambda: not processes_with(token), timeout_s=1, what="the end of the sleep")


@pytest.mark.case("A14")
def test_a_line_end_separates(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, answers("new@d1.test", "a@r.test\nb@r.test"))
    assert targets(hooked, "new@d1.test", 2) == ["a@r.test", "b@r.test"]


@pytest.mark.case("A15")
@pytest.mark.parametrize("output", ["|", "a b@r.test", "# x"], ids=["pipe", "blank", "comment"])
def test_output_that_cannot_be_read_is_a_failure(hooked: Server, hooks: Hooks, output: str) -> None:
    with hooked.session() as client:
        client.envelope()
        hooks.write(RESOLVE, f"echo '{output}'")
        reply = client.data()
    assert reply.text.startswith("451 4.3.0"), reply


@pytest.mark.case("A16")
def test_only_commas_are_no_alias(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, "echo ', ,'")
    assert targets(hooked, "user@d1.test") == ["user@d1.test"]
    assert rcpt(hooked, "nobody@d1.test").startswith("550")


@pytest.mark.case("A17")
def test_via_is_final(start: StartServer) -> None:
    """On a server of its own: an older chasquid panics."""
    server = start()
    Hooks(server.config.path).write(RESOLVE, answers("new@d1.test", "jo@r.test via m1/m2"))
    assert targets(server, "new@d1.test") == ["jo@r.test"]


@pytest.mark.case("A18")
def test_not_asked_about_foreign_addresses(hooked: Server, hooks: Hooks) -> None:
    hooks.write(RESOLVE, hooks.recorder)
    with hooked.authenticated() as client:
        client.deliver(["x@r.test"], sender="user@d1.test")
    assert hooks.calls() == []


@pytest.mark.case("A19")
def test_asked_once_within_the_cache_time(
    column: Column, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = ConfigDir(tmp_path_factory.mktemp("cached"))
    hooks = Hooks(config.path)
    hooks.write(RESOLVE, hooks.recorder)
    settings = Settings(relevo=("hooks.cache_ttl=60s", "hooks.negative_ttl=60s"))
    settings += Settings(relevo=("server.workers=1",))
    with running(Server(column, config, settings)) as server:
        for _ in range(3):
            with server.session() as client:
                client.deliver(["user@d1.test"])
        assert [call.arguments[0] for call in hooks.calls()] == ["user@d1.test"]


# alias-exists


@pytest.mark.case("A20")
def test_exit_0_makes_an_address_exist(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, '[ "$1" = new@d1.test ]')
    assert rcpt(hooked, "new@d1.test").startswith("250")
    assert rcpt(hooked, "other@d1.test").startswith("550 5.1.1")


@pytest.mark.case("A21")
def test_exit_1_is_550(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, "exit 1")
    assert rcpt(hooked, "nobody@d1.test").startswith("550 5.1.1")


@pytest.mark.case("A22")
def test_exit_1_costs_a_user_nothing(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, "exit 1")
    assert rcpt(hooked, "user@d1.test").startswith("250")


@pytest.mark.case("A23")
def test_deadline_of_alias_exists_is_no(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, "exec sleep 20")
    start = time.monotonic()
    assert rcpt(hooked, "nobody@d1.test").startswith("550 5.1.1")
    assert DEADLINE - 0.1 <= time.monotonic() - start < DEADLINE + SLACK


@pytest.mark.case("A24")
def test_asked_with_the_cleaned_address(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, hooks.recorder + "exit 1")
    rcpt(hooked, "ne.w+x@d1.test")
    assert [call.arguments for call in hooks.calls()] == [("new@d1.test",)]


@pytest.mark.case("A25")
def test_a_file_alias_needs_no_hook(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, "exit 1")
    assert rcpt(hooked, "al@d1.test").startswith("250")


@pytest.mark.case("A26")
@pytest.mark.parametrize(("status", "code"), [(0, "250"), (1, "550 5.1.1")])
def test_output_of_alias_exists_is_ignored(
    hooked: Server, hooks: Hooks, status: int, code: str
) -> None:
    hooks.write(EXISTS, f"echo x@r.test; exit {status}")
    assert rcpt(hooked, "new@d1.test").startswith(code)


@pytest.mark.case("A27")
def test_both_hooks(hooked: Server, hooks: Hooks) -> None:
    hooks.write(EXISTS, "exit 0")
    hooks.write(RESOLVE, answers("new@d1.test", "x@r.test"))
    assert targets(hooked, "new@d1.test") == ["x@r.test"]
