"""The table of tests against other servers (docs/other-servers.md) and the tests are the same."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "other-servers.md").read_text()
ROW = re.compile(r"^\| .*\| `(\w*)::(\w+)` \|$", re.MULTILINE)
FILES = {
    "kills": ROOT / "tests/fault/test_outbound_kills.py",
    **{
        path.stem.removeprefix("test_outbound").removeprefix("_"): path
        for path in (ROOT / "tests/system").glob("test_outbound*.py")
    },
}
# what has to be shown
CASES = (
    "MX fall-back", "IPv6, then IPv4", "null MX", "broken STARTTLS", "MTA-STS enforce: wrong",
    "MTA-STS testing: wrong", "DANE right", "DANE wrong", "DANE unsigned", "refused downgrade",
    "greylisting", "cut after the final dot", "421 in the middle", "552 for one of ten",
    "slow banner", "endless reply", "8-bit garbage", "`kill -9`", "relevo → Postfix",
    "relevo → chasquid", "Postfix → relevo", "chasquid → relevo", "relevo → relevo",
)  # fmt: skip


def names_in(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_each_row_has_its_test_and_each_test_its_row() -> None:
    rows = set(ROW.findall(PAGE))
    tests = {(name, test) for name, path in FILES.items() for test in names_in(path)}
    assert rows == tests


def test_each_line_of_the_tables_is_a_row() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.endswith("| test |")]
    assert len(heads) + len(ROW.findall(PAGE)) == len(lines)


def test_what_has_to_be_shown_is_in_the_table() -> None:
    assert [case for case in CASES if case not in PAGE] == []
