"""The statements of a group commit find their rows by index, however long the queue is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from relevo.queue import commit, leases
from relevo.queue.database import QueuePaths, connect, create_database
from relevo.queue.disk import Disk


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    create_database(tmp_path)
    made = connect(QueuePaths(tmp_path), Disk())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        pytest.param(commit._statement(commit._END_UNITS, 2, 3, 0), 6, id="end"),
        pytest.param(commit._statement(commit._CHANGE_UNITS, 4, 3, 0), 12, id="change"),
        pytest.param(commit._statement(commit._RELEASE_UNITS, 2, 3, 0), 6, id="release"),
        pytest.param(leases._LEASE, 3, id="lease"),
        pytest.param(leases._LEASED, 2, id="leased"),
        pytest.param(leases._NEXT_DUE, 0, id="next-due"),
        pytest.param(leases._RELEASE, 1, id="release-owner"),
        pytest.param("SELECT 1 FROM message WHERE file = ?", 1, id="file"),
    ],
)
def test_no_statement_reads_a_whole_table(
    connection: apsw.Connection, sql: str, values: int
) -> None:
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * values).fetchall()
    steps = [str(row[3]) for row in plan]
    assert steps
    scans = [step for step in steps if step.startswith(("SCAN unit", "SCAN message"))]
    assert all("unit_due" in step for step in scans), steps


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_rows_are_grouped_without_loss(count: int) -> None:
    rows = [(number,) for number in range(count)]
    groups = list(commit._groups(rows))
    assert [row for group in groups for row in group] == rows
    assert all(0 < len(group) <= 64 for group in groups)
