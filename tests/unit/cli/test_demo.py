"""What `relevo demo` prints. The running demo is tested in tests/system."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from relevo.cli.demo import _OPTIONS, _with_option, banner
from relevo.cli.demo_site import DemoSite, prepare
from relevo.cli.options import EXIT_USAGE
from relevo.config import load
from relevo.service.listeners import ListenFailed
from relevo.service.supervisor import StartFailed
from unit.cli.invoking import invoke

ADDRESSES = {
    "smtp": ["127.0.0.1:2525"],
    "submission": ["127.0.0.1:5587"],
    "submission_tls": ["127.0.0.1:4465"],
}


def test_the_banner_has_password_addresses_and_what_to_do() -> None:
    text = banner(DemoSite(Path("demo-data"), "s3cret"), ADDRESSES)
    assert "User demo@example.test, password s3cret" in text
    for address in ADDRESSES.values():
        assert address[0] in text
    assert "  cat demo-data/mail/example.test/demo/new/*\n" in text
    assert " trace -C demo-data demo@example.test\n" in text


def test_the_banner_does_not_invent_a_password() -> None:
    text = banner(DemoSite(Path("demo-data"), None), ADDRESSES)
    assert "password (changed" in text
    assert "as the user" not in text


def test_paths_in_the_banner_are_quoted() -> None:
    text = banner(DemoSite(Path("my data"), "x"), ADDRESSES)
    assert "cat 'my data/mail/example.test/demo'/new/*" in text
    assert "-C 'my data'" in text


def test_the_banner_names_a_relevo_that_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relevo.cli.demo.shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["/not/there/relevo"])
    text = banner(DemoSite(Path("d"), "x"), ADDRESSES)
    assert f"  {Path(sys.executable).with_name('relevo')} trace -C d" in text


@pytest.mark.parametrize(("key", "option"), list(_OPTIONS.items()))
def test_a_taken_port_is_said_with_its_option(tmp_path: Path, key: str, option: str) -> None:
    prepare(tmp_path)
    taken = ListenFailed(f"{key}: cannot listen on 127.0.0.1:2600")
    taken.__cause__ = OSError(errno.EADDRINUSE, "in use")
    error = StartFailed(str(taken))
    error.__cause__ = taken
    config = load(tmp_path, [f"{key}=127.0.0.1:2600"])
    expected = f'port 2600 is taken: try {option} 2601, with make: make run ARGS="{option} 2601"'
    assert str(_with_option(error, config)) == expected


def test_another_error_stays_as_it_is(tmp_path: Path) -> None:
    prepare(tmp_path)
    error = StartFailed("the data directory is in use by process 7")
    assert _with_option(error, load(tmp_path)) is error


def test_a_port_beyond_65535_is_wrong_usage(tmp_path: Path) -> None:
    outcome = invoke(["demo", "--data", str(tmp_path / "d"), "--smtp-port", "70000"])
    assert outcome.code == EXIT_USAGE
    assert not (tmp_path / "d").exists()
