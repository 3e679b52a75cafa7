"""docs/reference/cli.md says what the commands do."""

from __future__ import annotations

from pathlib import Path

from relevo.cli.main import COMMANDS
from relevo.cli.reference import PAGE, main, reference_page

TOP = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    assert (TOP / PAGE).read_text() == reference_page(), "run: make docs"


def test_main_writes_the_page(tmp_path: Path) -> None:
    main(tmp_path)
    assert (tmp_path / PAGE).read_text() == reference_page()


def test_every_command_has_a_section() -> None:
    for name in COMMANDS:
        assert f"\n## `relevo {name}`\n" in reference_page()


def test_every_exit_code_has_a_row() -> None:
    rows = [line for line in reference_page().splitlines() if line.startswith("| ")]
    codes = {row.split()[1] for row in rows}
    assert {"0", "1", "2", "3", "4", "70"} <= codes
