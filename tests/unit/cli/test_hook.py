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
