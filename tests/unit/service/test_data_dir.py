"""One supervisor a data directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relevo.service.data_dir import DataDirError, DataDirInUse, DataDirLock


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path / "data")
    script = (
        "import sys; from pathlib import Path; from relevo.service.data_dir import *\n"
        "try: DataDirLock(Path(sys.argv[1]))\n"
        "except DataDirInUse as error: print(error)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"in use by process {os.getpid()}" in output
    lock.close()


def test_it_is_free_again_after_close(tmp_path: Path) -> None:
    DataDirLock(tmp_path).close()
    DataDirLock(tmp_path).close()


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    with pytest.raises(DataDirInUse):
        DataDirLock(tmp_path)
    lock.close()


def test_a_path_that_cannot_be_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="cannot use data directory"):
        DataDirLock(tmp_path / "file" / "data")
