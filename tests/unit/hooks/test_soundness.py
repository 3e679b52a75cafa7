"""Faults of hooks that can be seen without calling them."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import load
from relevo.hooks.contract import Stage
from relevo.hooks.programs import Programs
from relevo.hooks.soundness import find_fault


def fault_of(site: Path, content: bytes, mode: int = 0o755) -> str:
    """Of a post-data hook with this content."""
    (site / "relevo.toml").touch()
    (site / "hooks").mkdir()
    path = site / "hooks" / "post-data"
    path.write_bytes(content)
    path.chmod(mode)
    config = load(site)
    (program,) = Programs(config).of(Stage.POST_DATA)
    return find_fault(config, program)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"#!/bin/sh\n", id="script"),
        pytest.param(b"#! /usr/bin/env -S sh -e\nexit\n", id="script-with-arguments"),
        pytest.param(b"\x7fELF\x02\x01\x01\0\0\0", id="binary"),
    ],
)
def test_a_program_that_can_be_run_has_no_fault(tmp_path: Path, content: bytes) -> None:
    assert fault_of(tmp_path, content) == ""


@pytest.mark.parametrize(
    ("content", "mode", "part"),
    [
        pytest.param(b"#!/bin/sh\n", 0o644, "no run bit", id="mode"),
        pytest.param(b"#!/bin/sh\n", 0o757, "others may write", id="writable"),
        pytest.param(b"exit 0\n", 0o755, "not #!", id="no-interpreter"),
        pytest.param(b"", 0o755, "not #!", id="empty"),
        pytest.param(b"#!\n", 0o755, "nothing follows #!", id="empty-interpreter"),
        pytest.param(b"#!/no/such\nx\n", 0o755, "/no/such is not there", id="interpreter"),
        pytest.param(b"#!/bin/sh\r\nx\r\n", 0o755, "CRLF", id="crlf"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: bytes, mode: int, part: str) -> None:
    assert part in fault_of(tmp_path, content, mode)
