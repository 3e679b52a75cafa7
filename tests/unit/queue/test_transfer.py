"""Messages as files, out of a queue and into another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relevo.queue.database import create_database
from relevo.queue.loading import Loader
from relevo.queue.reading import open_reader
from relevo.queue.store import Summary
from relevo.queue.transfer import NotAMessage, find_messages, read_message, write_message
from unit.queue.samples import NOW, deferred, message, opened, random_octets, read, run

TEXT = b"Subject: x\r\n\r\nHello\r\n"


def queue_with(folder: Path, *contents: bytes) -> None:
    async def fill() -> None:
        async with opened(folder) as store:
            for content in contents:
                await store.add(message(content, routes=("mx:a.test", "local")), lease=False)
            for unit in await store.lease(now=NOW, limit=1):
                await store.finish(deferred(unit, NOW + 600))

    run(fill())


def export(folder: Path, target: Path) -> list[Summary]:
    target.mkdir(exist_ok=True)
    with open_reader(folder) as reader:
        summaries = list(reader.messages())
        for summary in summaries:
            content = reader.content(summary.id)
            assert content is not None
            write_message(summary, content, target, now=NOW)
    return summaries


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with one exported message."""
    queue_with(tmp_path / "from", TEXT)
    export(tmp_path / "from", tmp_path / "files")
    return tmp_path / "files"


def test_a_queue_goes_through_files_unchanged(tmp_path: Path) -> None:
    contents = [TEXT, random_octets(5000, 1), random_octets(300_000, 2)]
    queue_with(tmp_path / "from", *contents)
    before = export(tmp_path / "from", tmp_path / "files")
    create_database(tmp_path / "to")
    with Loader(tmp_path / "to") as loader:
        loader.load(map(read_message, find_messages(tmp_path / "files")))
    with open_reader(tmp_path / "to") as reader:
        assert list(reader.messages()) == before
        after = [reader.content(one.id) for one in before]
        assert [read(content) for content in after if content] == contents


def test_a_unit_that_is_being_tried_is_due_at_once_elsewhere(tmp_path: Path) -> None:
    async def leave_leased() -> None:
        async with opened(tmp_path / "from") as store:
            await store.add(message(TEXT), lease=True)

    run(leave_leased())
    export(tmp_path / "from", tmp_path / "files")
    (path,) = find_messages(tmp_path / "files")
    assert [unit.due for unit in read_message(path).units] == [NOW]


def test_files_are_private_and_never_written_over(files: Path, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in files.iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        export(tmp_path / "from", files)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(format=2), "format 2"),
        (lambda d: d.update(id="../../etc/passwd"), "no id"),
        (lambda d: d.update(units=[]), "no recipients"),
        (lambda d: d["units"][0].update(recipients=[]), "no recipients"),
        (lambda d: d.update(units="x"), "units"),
        (lambda d: d.pop("envelope"), "envelope"),
        (lambda d: d["units"][0]["recipients"][0].update(kind="pigeon"), "pigeon"),
        (lambda d: d.update(sha256="0" * 64), "is not what"),
    ],
    ids=["format", "id", "units", "recipients", "type", "missing", "kind", "sum"],
)
def test_a_description_that_is_wrong_is_refused_by_name(
    files: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    (path,) = find_messages(files)
    edited(path, change)
    with pytest.raises(NotAMessage, match=reason) as caught:
        read_message(path)
    assert str(caught.value).startswith(str(files))


def test_what_is_no_json_is_refused(files: Path) -> None:
    (path,) = find_messages(files)
    path.write_bytes(b"\xff{")
    with pytest.raises(NotAMessage):
        read_message(path)


def test_a_description_without_its_message_is_refused(files: Path) -> None:
    (path,) = find_messages(files)
    path.with_suffix(".eml").unlink()
    with pytest.raises(NotAMessage, match="missing"):
        read_message(path)


@pytest.mark.parametrize("data", [b"A: b\n\r\nx\r\n", b"A: b\rx\r\n", b"\n"])
def test_an_edited_message_must_have_crlf_lines(files: Path, data: bytes) -> None:
    (path,) = find_messages(files)
    path.with_suffix(".eml").write_bytes(data)
    edited(path, lambda described: described.pop("sha256"))
    with pytest.raises(NotAMessage, match="CRLF"):
        read_message(path)


def test_an_edited_message_is_taken_without_its_sum(files: Path) -> None:
    (path,) = find_messages(files)
    path.with_suffix(".eml").write_bytes(b"A: b\r\n\r\nother\r\n")
    with pytest.raises(NotAMessage, match="sha256"):
        read_message(path)
    edited(path, lambda described: described.pop("sha256"))
    assert read_message(path).size == 15
