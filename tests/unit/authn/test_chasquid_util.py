"""Users files shared with chasquid-util, in both directions."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from harness import debian
from relevo.authn.passwords import make_credential, verify
from relevo.directory.users import Denied, Plain, Scrypt, parse_users
from relevo.directory.users_editing import set_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relevo.directory.users import Credential


def read(path: Path) -> Mapping[str, Credential]:
    return parse_users(path.read_bytes(), path=path)


def chasquid_util(config_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [debian.program("chasquid-util"), f"-C={config_dir}", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    (tmp_path / "chasquid.conf").write_text('hostname: "mx.test"\n')
    (tmp_path / "domains" / "d1.test").mkdir(parents=True)
    return tmp_path


@pytest.mark.case("C9")
@pytest.mark.needs_debian("chasquid")
def test_entries_of_chasquid_util_fit_their_passwords(config_dir: Path) -> None:
    path = config_dir / "domains" / "d1.test" / "users"
    names = [f"user{number}" for number in range(6)]
    for name in names:
        done = chasquid_util(config_dir, "user-add", f"{name}@d1.test", f"--password=ñ{name}")
        assert done.returncode == 0, done
    users = read(path)
    assert list(users) == names
    for name in names:
        assert verify(users[name], f"ñ{name}".encode(), user=name)
        assert not verify(users[name], name.encode(), user=name)


@pytest.mark.needs_debian("chasquid")
def test_chasquid_util_reads_our_entries(config_dir: Path) -> None:
    path = config_dir / "domains" / "d1.test" / "users"
    # All octets, so that each kind of escape is read by the other side.
    for number in range(4):
        set_user(path, f"user{number}", make_credential(b"secret"))
    set_user(path, "octets", Scrypt(14, 8, 1, 32, bytes(range(256)), bytes(range(256))))
    set_user(path, "rx", Denied())
    set_user(path, "ñandú", Plain(b"secret"))
    for number in range(4):
        name = f"user{number}@d1.test"
        right = chasquid_util(config_dir, "authenticate", name, "--password=secret")
        assert right.returncode == 0, right
        wrong = chasquid_util(config_dir, "authenticate", name, "--password=wrong")
        assert "failed" in wrong.stdout + wrong.stderr, wrong
    right = chasquid_util(config_dir, "authenticate", "ñandú@d1.test", "--password=secret")
    assert right.returncode == 0, right
    refused = chasquid_util(config_dir, "authenticate", "rx@d1.test", "--password=")
    assert refused.returncode != 0


@pytest.mark.needs_debian("chasquid")
def test_entries_survive_an_edit_by_the_other_program(config_dir: Path) -> None:
    path = config_dir / "domains" / "d1.test" / "users"
    set_user(path, "octets", Scrypt(14, 8, 1, 32, bytes(range(256)), bytes(range(255, -1, -1))))
    set_user(path, "rx", Denied())
    before = read(path)
    done = chasquid_util(config_dir, "user-add", "new@d1.test", "--password=x")
    assert done.returncode == 0, done
    after = dict(read(path))
    assert isinstance(after.pop("new"), Scrypt)
    assert after == before
