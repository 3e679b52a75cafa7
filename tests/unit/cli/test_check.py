"""`relevo check`: each mistake with its place, and an exit code for scripts."""

from __future__ import annotations

import pytest

from harness.config_dir import HOSTNAME, ConfigDir
from relevo.cli.options import EXIT_CONFIG
from unit.cli.invoking import Run


@pytest.fixture(autouse=True)
def postmaster(site: ConfigDir) -> None:
    site.write_aliases("d1.test", "postmaster: user\n")


def last_line(text: str) -> str:
    return text.rstrip("\n").rpartition("\n")[2]


def test_a_good_directory_is_said_to_be_good(run: Run) -> None:
    outcome = run("check")
    assert outcome.code == 0
    assert outcome.out.startswith("no problems; 1 certificate, 2 domains")
    assert "SQLite 3." in outcome.out


def test_mistakes_of_the_configuration_are_all_named(run: Run, site: ConfigDir) -> None:
    path = site.path / "relevo.toml"
    path.write_text('hostnam = "x"\n[limits]\nerrors = "many"\n')
    outcome = run("check")
    assert outcome.code == EXIT_CONFIG
    assert f"{path}:1: hostnam: " in outcome.out
    assert f"{path}:3: limits.errors: " in outcome.out
    assert last_line(outcome.out).startswith("2 errors, 0 warnings; ")


def test_mistakes_in_users_and_aliases_are_all_named(run: Run, site: ConfigDir) -> None:
    site.write_aliases("d1.test", "fine: user\nbroken\n")
    (site.path / "domains/d1.test/users").write_text("users: {\n")
    outcome = run("check")
    assert outcome.code == EXIT_CONFIG
    assert f"{site.path}/domains/d1.test/aliases:2: " in outcome.out
    assert f"{site.path}/domains/d1.test/users:" in outcome.out


def test_a_key_that_does_not_fit_is_named(run: Run, site: ConfigDir) -> None:
    (site.path / "certs" / HOSTNAME / "privkey.pem").write_text("nonsense")
    outcome = run("check")
    assert outcome.code == EXIT_CONFIG
    assert f"{site.path}/certs/{HOSTNAME}/privkey.pem: " in outcome.out


def test_a_missing_folder_is_named_once(run: Run, site: ConfigDir) -> None:
    (site.path / "domains").rename(site.path / "elsewhere")
    outcome = run("check")
    assert outcome.code == EXIT_CONFIG
    assert outcome.out.count(f"{site.path}/domains: ") == 1


def test_nobody_for_postmaster_is_a_warning(run: Run, site: ConfigDir) -> None:
    site.write_aliases("d1.test", "")
    outcome = run("check")
    assert outcome.code == 0
    assert ": warning: postmaster: " in outcome.out
    assert last_line(outcome.out).startswith("0 errors, 1 warning; ")


def test_a_missing_delivery_agent_is_a_warning_at_its_line(run: Run, site: ConfigDir) -> None:
    path = site.path / "relevo.toml"
    lines = [line for line in path.read_text().splitlines() if "delivery" not in line]
    lines += ["[delivery]", 'local = "mda"', 'mda_command = "/no/such/mda"']
    path.write_text("\n".join(lines))
    outcome = run("check")
    assert outcome.code == 0
    assert f"{path}:{len(lines)}: warning: delivery.mda_command: " in outcome.out


def test_a_loop_of_aliases_is_a_warning(run: Run, site: ConfigDir) -> None:
    site.write_aliases("d1.test", "postmaster: user\na: b\nb: a\n*: user\n")
    outcome = run("check")
    assert outcome.code == 0
    place = f"{site.path}/domains/d1.test/aliases: warning: mail for a@d1.test is answered 451: "
    assert f"{place}aliases form a loop: a@d1.test -> b@d1.test -> a@d1.test\n" in outcome.out
    assert last_line(outcome.out).startswith("0 errors, 2 warnings; ")


@pytest.mark.parametrize(
    ("mode", "text", "fault"),
    [
        pytest.param(0o644, "#!/bin/sh\n", "it has no run bit", id="mode"),
        pytest.param(0o755, "exit 0\n", "it is a script whose first line is not #!", id="no-#!"),
        pytest.param(0o755, "#!/no/such/sh\n", "/no/such/sh is not there", id="interpreter"),
    ],
)
def test_a_hook_that_cannot_run_is_a_warning(
    run: Run, site: ConfigDir, mode: int, text: str, fault: str
) -> None:
    path = site.path / "hooks" / "post-data"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    outcome = run("check")
    assert outcome.code == 0
    assert f"{path}: warning: the post-data hook cannot be run: " in outcome.out
    assert fault in outcome.out


def test_a_library_that_damages_queues_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relevo.queue.database.apsw.sqlite_lib_version", lambda: "3.40.1")
    outcome = run("check")
    assert outcome.code == EXIT_CONFIG
    assert "SQLite: " in outcome.out
    assert "3.40.1" in outcome.out


def test_overrides_are_checked_too(run: Run) -> None:
    outcome = run("check", "--set", "limits.errors=0")
    assert outcome.code == EXIT_CONFIG
    assert "--set: limits.errors: " in outcome.out


def test_json_has_the_same_findings(run: Run, site: ConfigDir) -> None:
    site.write_aliases("d1.test", "broken\n")
    outcome = run("check", "--json")
    assert outcome.code == EXIT_CONFIG
    [problem] = outcome.json
    assert problem["file"] == str(site.path / "domains/d1.test/aliases")
    assert (problem["line"], problem["severity"]) == (1, "error")


def test_json_of_a_good_directory_is_an_empty_list(run: Run) -> None:
    outcome = run("check", "--json")
    assert (outcome.code, outcome.json) == (0, [])


def test_protections_from_hooks_are_said_where_there_are_hooks(run: Run, site: ConfigDir) -> None:
    assert "hooks:" not in run("check").out
    hook = site.path / "hooks" / "post-data"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    [line] = [line for line in run("check").out.splitlines() if line.startswith("hooks: ")]
    assert "limited in memory, processor time, file size, open files, processes" in line
    assert "what they leave behind is killed" in line
    assert "forks without end are met with" in line
    assert "Python alone" not in line
    with (site.path / "relevo.toml").open("a") as file:
        file.write("\n[hooks]\nmemory_limit = 0\n")
    assert "; not in memory; " in run("check").out
