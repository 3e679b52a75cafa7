"""Keys of the folders of domains: taken up, kept when a file goes bad, gone when it goes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from relevo.mailauth.dkim.key_files import MAX_FILE_SIZE, KeyFiles
from relevo.mailauth.dkim.private_key import (
    BadPrivateKey,
    KeyKind,
    key_record,
    make_private_key,
    private_key_pem,
    read_private_key,
    zone_line,
)

KEYS = [make_private_key(KeyKind.ED25519) for _ in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "domains" / "BÜCHER.test"
    path.mkdir(parents=True)
    return path


def write(folder: Path, selector: str, data: bytes) -> Path:
    path = folder / f"dkim:{selector}.pem"
    path.write_bytes(data)
    return path


def test_every_key_of_a_domain_by_selector(folder: Path, tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    files.refresh()
    assert not files.has_keys
    write(folder, "b", private_key_pem(KEYS[0]))
    write(folder, "a.x", private_key_pem(KEYS[1]))
    (folder / "dkim:next.pem.next").write_bytes(private_key_pem(KEYS[1]))
    files.refresh()
    keys = files.of("bücher.test")
    assert [(key.selector, key.domain) for key in keys] == [
        ("a.x", "xn--bcher-kva.test"), ("b", "xn--bcher-kva.test")
    ]  # fmt: skip
    assert files.of("other.test") == ()


def test_a_file_that_goes_bad_leaves_its_key_and_is_told_of_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(folder, "a", private_key_pem(KEYS[0]))
    files = KeyFiles(tmp_path)
    files.refresh()
    (before,) = files.of("bücher.test")
    path.write_bytes(b"rubbish, and more of it")
    with caplog.at_level(logging.ERROR):
        files.refresh()
        files.refresh()
    assert files.of("bücher.test") == (before,)
    assert len(caplog.records) == 1
    assert "signs on" in caplog.text
    path.write_bytes(private_key_pem(KEYS[1]))
    os.utime(path, (1, 1))
    files.refresh()
    (after,) = files.of("bücher.test")
    assert key_record(after.key) == key_record(KEYS[1])
    path.unlink()
    files.refresh()
    assert not files.has_keys


@pytest.mark.parametrize("data", [b"", b"x" * (MAX_FILE_SIZE + 1)], ids=["empty", "large"])
def test_a_file_that_was_never_good_signs_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    write(folder, "a", data)
    files = KeyFiles(tmp_path)
    files.refresh()
    assert not files.has_keys
    assert "nothing is signed with it" in caplog.text


def test_a_folder_in_the_place_of_a_key_hangs_nothing(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "dkim:a.pem")
    (folder / "dkim:b.pem").mkdir()
    files = KeyFiles(tmp_path)
    files.refresh()
    assert not files.has_keys


@pytest.mark.parametrize("kind", KeyKind)
def test_a_made_key_is_read_again(kind: KeyKind) -> None:
    key = make_private_key(kind)
    assert key_record(read_private_key(private_key_pem(key))) == key_record(key)


def test_a_key_without_a_use_is_refused() -> None:
    with pytest.raises(BadPrivateKey):
        read_private_key(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def test_a_long_record_is_cut_into_strings_that_dns_can_hold() -> None:
    record = key_record(make_private_key(KeyKind.RSA_4096))
    line = zone_line("d.test", "s", record)
    strings = line.partition(" TXT ")[2].strip('"').split('" "')
    assert all(len(string) <= 255 for string in strings)
    assert "".join(strings) == record
