"""Which files are hooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.hooks.contract import Stage
from relevo.hooks.files import NO_FOLDER_FOR_S, HookFolder

STAGE = Stage.POST_DATA


def write(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def names(folder: HookFolder) -> list[str]:
    return [hook.name for hook in folder.find(STAGE)]


def test_no_folder_no_hooks(tmp_path: Path) -> None:
    assert names(HookFolder(tmp_path)) == []


def test_the_single_file_first_then_the_folder_by_name(tmp_path: Path) -> None:
    for name in ("post-data.d/20-b", "post-data.d/10-a", "post-data", "alias-resolve"):
        write(tmp_path / "hooks" / name)
    found = names(HookFolder(tmp_path))
    assert found == ["hooks/post-data", "hooks/post-data.d/10-a", "hooks/post-data.d/20-b"]


def test_that_there_is_no_folder_is_believed_for_a_moment(tmp_path: Path) -> None:
    now = 100.0
    folder = HookFolder(tmp_path, clock=lambda: now)
    write(tmp_path / "hooks" / "post-data")
    assert names(folder) == ["hooks/post-data"]
    write(tmp_path / "hooks" / "post-data.d" / "a")
    assert names(folder) == ["hooks/post-data"]
    now += NO_FOLDER_FOR_S
    assert names(folder) == ["hooks/post-data", "hooks/post-data.d/a"]
    (tmp_path / "hooks" / "post-data").unlink()
    write(tmp_path / "hooks" / "post-data.d" / "b")
    assert names(folder) == ["hooks/post-data.d/a", "hooks/post-data.d/b"]  # at once


@pytest.mark.parametrize("name", ["a.sh", "a~", ".a", "a b", "a.dpkg-old", "ä"])
def test_names_that_run_parts_would_not_take(tmp_path: Path, name: str) -> None:
    write(tmp_path / "hooks" / "post-data.d" / name)
    assert names(HookFolder(tmp_path)) == []


def test_dangling_links_are_no_hooks(tmp_path: Path) -> None:
    (tmp_path / "hooks" / "post-data.d").mkdir(parents=True)
    (tmp_path / "hooks" / "post-data").symlink_to("nowhere")
    (tmp_path / "hooks" / "post-data.d" / "a").symlink_to("nowhere")
    assert names(HookFolder(tmp_path)) == []


def test_what_cannot_be_looked_at_is_a_hook_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "post-data").symlink_to("post-data")
    (hook,) = HookFolder(tmp_path).find(STAGE)
    assert hook.problem == "Too many levels of symbolic links"


def test_hooks_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "hooks").write_text("")
    problems = [hook.problem for hook in HookFolder(tmp_path).find(STAGE)]
    assert problems == ["Not a directory"]


def test_a_folder_is_a_hook_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "hooks" / "post-data").mkdir(parents=True)
    (hook,) = HookFolder(tmp_path).find(STAGE)
    assert hook.problem == "it is a folder"


@pytest.mark.parametrize(("mode", "expected"), [(0o755, False), (0o757, True), (0o775, False)])
def test_writable_by_others(tmp_path: Path, mode: int, expected: bool) -> None:
    write(tmp_path / "hooks" / "post-data", mode=mode)
    (hook,) = HookFolder(tmp_path).find(STAGE)
    assert hook.is_writable_by_others is expected


def test_version_follows_the_content(tmp_path: Path) -> None:
    folder = HookFolder(tmp_path)
    write(tmp_path / "hooks" / "post-data", "one")
    (first,) = folder.find(STAGE)
    assert folder.known_version(first) is None
    assert len(folder.version(first)) == 12
    assert folder.known_version(first) == folder.version(first)
    write(tmp_path / "hooks" / "post-data", "three")
    (second,) = folder.find(STAGE)
    assert second.signature != first.signature
    assert folder.version(second) != folder.version(first)
