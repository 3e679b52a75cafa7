"""`relevo hook`: what it takes, and what it says when there is nothing to run."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_NO, EXIT_USAGE
from unit.cli.invoking import Run


def test_no_hooks(run: Run, site: ConfigDir) -> None:
    outcome = run("hook", "list")
    assert outcome.code == 0
    assert outcome.out == f"there are no hooks in {site.path}/hooks, and none declared\n"


def test_a_hook_that_cannot_run_is_a_no(run: Run, site: ConfigDir) -> None:
    hook = site.path / "hooks" / "post-data"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("echo\n")
    hook.chmod(0o755)
    outcome = run("hook", "list")
    assert outcome.code == EXIT_NO
    assert "PROBLEM: it is a script whose first line is not #!" in outcome.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(("--client", "foo"), "'foo' is not IP:PORT", id="client"),
        pytest.param(("--client", "192.0.2.1"), "is not IP:PORT", id="client-without-port"),
        pytest.param(("--client", "[2001:db8::1]:70000"), "is not IP:PORT", id="port"),
        pytest.param(("--spf", "good"), "'good' is not one of", id="spf"),
        pytest.param(("--env", "NAME"), "write NAME=VALUE", id="variable"),
    ],
)
def test_facts_that_make_no_sense_are_wrong_usage(
    run: Run, words: tuple[str, ...], text: str
) -> None:
    outcome = run("hook", "test", "post-data", *words)
    assert outcome.code == EXIT_USAGE
    assert text in outcome.err


def test_a_new_hook_is_written_with_its_test_and_nothing_is_overwritten(
    run: Run, site: ConfigDir
) -> None:
    outcome = run("hook", "new", "rcpt", "--name", "members")
    assert outcome.code == 0
    assert "async def rcpt(context" in (site.path / "hooks" / "members.py").read_text()
    assert (site.path / "hooks" / "test_members.py").exists()
    assert 'target = "hooks/members.py"' in outcome.out
    again = run("hook", "new", "rcpt", "--name", "members")
    assert again.code != 0
    assert "is there already" in again.err


def test_the_name_of_a_new_hook_is_one_of_python(run: Run) -> None:
    assert run("hook", "new", "rcpt", "--name", "../x").code == EXIT_USAGE
