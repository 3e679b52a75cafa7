"""`relevo backup`: the copy appears whole or not at all."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import pytest

from harness.archives import unpack
from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_USAGE
from relevo.queue import open_reader
from unit.cli.invoking import Run
from unit.cli.servers import fill_queue, waiting_message

NOW = time.time()
LARGE = b"A: b\r\n\r\n" + b"x" * 50_000


@pytest.fixture(autouse=True)
def queue(site: ConfigDir) -> None:
    fill_queue(site, waiting_message(now=NOW), waiting_message(now=NOW, data=LARGE))


def messages(data_dir: Path) -> int:
    with open_reader(data_dir) as reader:
        return reader.counts().messages


def test_a_directory_is_a_data_directory(run: Run, tmp_path: Path) -> None:
    outcome = run("backup", str(tmp_path / "copy"))
    assert outcome.code == 0
    assert outcome.out.startswith("2 messages of ")
    assert messages(tmp_path / "copy") == 2
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["copy.tar", "copy.tar.gz", "copy.tgz"])
def test_an_archive_holds_the_same(run: Run, tmp_path: Path, name: str) -> None:
    assert run("backup", str(tmp_path / name)).code == 0
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / name) as archive:
        unpack(archive, tmp_path / "restored")
    assert messages(tmp_path / "restored" / "data") == 2


def test_what_is_there_is_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "copy.tar").write_text("precious")
    assert run("backup", str(tmp_path / "copy.tar")).code == EXIT_USAGE
    assert (tmp_path / "copy.tar").read_text() == "precious"


def test_a_copy_that_fails_leaves_nothing(run: Run, site: ConfigDir, tmp_path: Path) -> None:
    (site.data / "queue.db").unlink()
    before = set(tmp_path.iterdir())
    outcome = run("backup", str(tmp_path / "copy"))
    assert outcome.code == EXIT_CONFIG
    assert "no queue" in outcome.err
    assert set(tmp_path.iterdir()) == before


def test_a_damaged_message_is_named(run: Run, site: ConfigDir, tmp_path: Path) -> None:
    (segment,) = (site.data / "spool").glob("*.seg")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"x" * 100, b"y" * 100))
    outcome = run("backup", str(tmp_path / "copy"))
    assert outcome.code == EXIT_CONFIG
    assert "is damaged" in outcome.err
    assert messages(tmp_path / "copy") == 2
