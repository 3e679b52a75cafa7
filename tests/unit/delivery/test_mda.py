"""The mail delivery agent: substitutions, stdin, and what its end means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from relevo.delivery.attempt import Result
from relevo.delivery.commands import CommandRunner
from relevo.delivery.mda import MdaAgent, UnsafeArgument, substitute
from relevo.journal import Outcome
from relevo.mail import NULL, Address
from unit.delivery.loops import Runner
from unit.delivery.samples import MESSAGE, attempt_of, mail, make_unit

SENDER = Address("a", "b.c")
RECIPIENT = Address("u", "d.e")


@pytest.mark.case("Q1", "Q2", "Q3")
@pytest.mark.parametrize(
    ("word", "sender", "recipient", "argument"),
    [
        ("%from%", SENDER, RECIPIENT, "a@b.c"),
        ("%from_user%", SENDER, RECIPIENT, "a"),
        ("%from_domain%", SENDER, RECIPIENT, "b.c"),
        ("%to%", SENDER, RECIPIENT, "u@d.e"),
        ("%to_user%", SENDER, RECIPIENT, "u"),
        ("%to_domain%", SENDER, RECIPIENT, "d.e"),
        ("x%to_user%y", SENDER, RECIPIENT, "xuy"),
        ("%to_user%%to_user%", SENDER, RECIPIENT, "uu"),
        ("--to=%to%,%from%", SENDER, RECIPIENT, "--to=u@d.e,a@b.c"),
        ("%other%", SENDER, RECIPIENT, "%other%"),
        ("%to", SENDER, RECIPIENT, "%to"),
        ("100%", SENDER, RECIPIENT, "100%"),
        ("%from%", NULL, RECIPIENT, "<>"),
        ("%from_user%", NULL, RECIPIENT, "<>"),
        ("%from_domain%", NULL, RECIPIENT, ""),
        ("%from%", Address("a$b'c", "r.test"), RECIPIENT, "abc@r.test"),
        ("%from%", Address("/;\"'\\|*&$%()[]{}`! \t\x00x", "r.test"), RECIPIENT, "x@r.test"),
        ("%from%", Address("<=+>", "r.test"), RECIPIENT, "<=+>@r.test"),
        ("%from%", Address("%to%", "r.test"), RECIPIENT, "to@r.test"),
        ("%to_user%", SENDER, Address("ñandú", "d.e"), "ñandú"),
        ("%from%", Address("a\u2003b\x85", "r.test"), RECIPIENT, "ab@r.test"),
        ("-f%from%", Address("-x", "b.c"), RECIPIENT, "-f-x@b.c"),
    ],
)
def test_substitution(word: str, sender: Address, recipient: Address, argument: str) -> None:
    assert substitute([word], sender, recipient) == (argument,)


@pytest.mark.parametrize(
    ("word", "sender", "recipient"),
    [
        ("%from%", Address("-oProxyCommand", "b.c"), RECIPIENT),
        ("%to_user%", SENDER, Address("-rf", "d.e")),
        ("%to%", SENDER, Address("--help", "d.e")),
        ("%from_user%", Address("/-x", "b.c"), RECIPIENT),
        ("%from_user%", Address(" -x", "b.c"), RECIPIENT),
        ("%from_domain%%to%", NULL, Address("-x", "d.e")),
        ("static", SENDER, Address("$$", "d.e")),
    ],
)
def test_address_that_would_be_an_option_or_nothing_is_refused(
    word: str, sender: Address, recipient: Address
) -> None:
    with pytest.raises(UnsafeArgument):
        substitute([word], sender, recipient)


def deliver(
    run: Runner,
    directory: Path,
    script: str,
    *,
    reverse_path: str = "a@b.test",
    targets: Sequence[str] = ("ann@d1.test",),
    timeout_s: float = 10,
    command: str = "/bin/sh",
) -> Sequence[Result]:
    async def attempt() -> Sequence[Result]:
        runner = CommandRunner(directory, timeout_s=timeout_s, limit=4)
        agent = MdaAgent(command, ("-c", script, "sh", "%from%", "%to%"), runner)
        unit = make_unit(*map(mail, targets), reverse_path=reverse_path)
        return await agent.attempt(attempt_of(unit))

    return run(attempt())


@pytest.mark.case("Q5")
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("exit 0", Outcome.DELIVERED, id="exit-0"),
        pytest.param("exit 75", Outcome.TEMPORARY, id="exit-75"),
        pytest.param("exit 1", Outcome.PERMANENT, id="exit-1"),
        pytest.param("exit 67", Outcome.PERMANENT, id="exit-67"),
        pytest.param("kill -9 $$", Outcome.TEMPORARY, id="signal"),
    ],
)
def test_end_of_the_agent_decides(
    run: Runner, tmp_path: Path, script: str, outcome: Outcome
) -> None:
    (result,) = deliver(run, tmp_path, script)
    assert result.outcome is outcome


@pytest.mark.case("Q6")
def test_deadline_is_temporary(run: Runner, tmp_path: Path) -> None:
    (result,) = deliver(run, tmp_path, "sleep 60", timeout_s=0.2)
    assert result.outcome is Outcome.TEMPORARY
    assert "did not end in time" in result.detail


@pytest.mark.case("Q7")
@pytest.mark.parametrize("command", ["/absent/mda", "absent-mda", "/etc/passwd"])
def test_agent_that_cannot_be_run_is_temporary(run: Runner, tmp_path: Path, command: str) -> None:
    (result,) = deliver(run, tmp_path, "", command=command)
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, "4.3.5")
    assert command not in result.detail


@pytest.mark.case("Q4")
def test_stdin_is_the_message_with_crlf_and_nothing_added(run: Runner, tmp_path: Path) -> None:
    deliver(run, tmp_path, "cat > got")
    assert (tmp_path / "got").read_bytes() == MESSAGE


def test_arguments_and_environment(run: Runner, tmp_path: Path) -> None:
    script = 'echo "$1 $2 $SENDER $RECIPIENT $MESSAGE_ID" > got'
    deliver(run, tmp_path, script, reverse_path="", targets=['"a b"@d1.test'])
    assert (tmp_path / "got").read_text() == "<> ab@d1.test  a b@d1.test m1\n"


def test_failure_names_status_and_output(run: Runner, tmp_path: Path) -> None:
    (result,) = deliver(run, tmp_path, "printf 'no\\nroom' >&2; exit 7")
    assert result.detail == 'the mail delivery agent failed: exit status 7: "no\\nroom"'
    assert result.status == "5.3.0"


def test_each_recipient_has_its_own_process_and_result(run: Runner, tmp_path: Path) -> None:
    script = 'case "$2" in bad@*) exit 1;; busy@*) exit 75;; esac'
    results = deliver(run, tmp_path, script, targets=["bad@d1.test", "ann@d1.test", "busy@d1.test"])
    assert [result.outcome for result in results] == [
        Outcome.PERMANENT,
        Outcome.DELIVERED,
        Outcome.TEMPORARY,
    ]


@pytest.mark.parametrize(
    ("reverse_path", "target"),
    [("-x@b.test", "ann@d1.test"), ("a@b.test", "-x@d1.test"), ("a@b.test", '"$$"@d1.test')],
)
def test_unsafe_address_fails_without_running_anything(
    run: Runner, tmp_path: Path, reverse_path: str, target: str
) -> None:
    (result,) = deliver(run, tmp_path, "touch ran", reverse_path=reverse_path, targets=[target])
    assert (result.outcome, result.status) == (Outcome.PERMANENT, "5.1.3")
    assert not (tmp_path / "ran").exists()
