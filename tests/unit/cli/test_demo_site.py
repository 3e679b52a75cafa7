"""The demo's folder: complete, private, and never written twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.authn import make_credential
from relevo.cli.demo_site import ADDRESS, HOSTNAME, USER, prepare
from relevo.config import check_local, load
from relevo.directory import DirectoryWatcher
from relevo.directory.users_editing import remove_user, set_user

USERS = Path("domains/example.test/users")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_folder_is_a_config_directory_without_problems(tmp_path: Path) -> None:
    prepare(tmp_path)
    config = load(tmp_path)
    assert config.warnings == ()
    assert check_local(config) == []
    directory = DirectoryWatcher(config).current
    assert str(directory.postmaster()) == "postmaster@example.test"


def test_the_configuration_is_for_loopback_and_a_terminal(tmp_path: Path) -> None:
    prepare(tmp_path)
    config = load(tmp_path)
    listen = config.listen
    addresses = (*listen.smtp, *listen.submission, *listen.submission_tls)
    assert addresses == ("127.0.0.1:2525", "127.0.0.1:5587", "127.0.0.1:4465")
    assert (config.mail_log.path, config.mail_log.format) == ("stdout", "plain")
    assert config.delivery.local == f"maildir:{tmp_path}/mail/{{domain}}/{{user}}"


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    prepare(tmp_path)
    for name in ("password", f"certs/{HOSTNAME}/privkey.pem"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    first = prepare(tmp_path)
    before = contents(tmp_path)
    assert prepare(tmp_path) == first
    assert contents(tmp_path) == before


def test_passwords_are_random(tmp_path: Path) -> None:
    one, other = prepare(tmp_path / "one").password, prepare(tmp_path / "other").password
    assert one != other
    assert one is not None
    assert len(one) >= 12


def test_a_password_that_was_changed_is_not_claimed_to_be_known(tmp_path: Path) -> None:
    prepare(tmp_path)
    set_user(tmp_path / USERS, USER, make_credential(b"of my own"))
    assert prepare(tmp_path).password is None


def test_a_removed_user_comes_back_with_the_same_password(tmp_path: Path) -> None:
    password = prepare(tmp_path).password
    remove_user(tmp_path / USERS, USER)
    assert prepare(tmp_path).password == password


@pytest.mark.parametrize("name", ["fullchain.pem", "privkey.pem"])
def test_half_a_certificate_is_replaced_by_a_whole_one(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    (tmp_path / "certs" / HOSTNAME / name).unlink()
    prepare(tmp_path)
    assert check_local(load(tmp_path)) == []


def test_the_mailbox_is_where_mail_for_the_user_goes(tmp_path: Path) -> None:
    assert prepare(tmp_path).mailbox == tmp_path / "mail/example.test/demo"
    assert ADDRESS == "demo@example.test"
