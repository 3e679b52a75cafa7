"""What either server keeps in its data directory: waiting recipients, and messages made older.

chasquid keeps one text file a message (`queue/m:<id>`), relevo a database; tests that need more
than dialogue and mail log can show look here, so that they need not know which.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import assert_never

import apsw

from conformance.chasquid.servers import Column
from relevo.queue import open_reader

CREATED = re.compile(r"(created_at_ts:\s*\{\s*seconds:\s*)(\d+)")
ADDRESS = re.compile(r'^\s*address:\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)


def queue_files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "queue").glob("m:*"))


def waiting_recipients(column: Column, data_dir: Path) -> list[str]:
    """Final addresses of all waiting messages, as stored."""
    match column:
        case Column.CHASQUID:
            return [
                found.replace('\\"', '"')
                for path in queue_files(data_dir)
                for found in ADDRESS.findall(path.read_text())
            ]
        case Column.RELEVO:
            with open_reader(data_dir) as reader:
                return [
                    recipient.target
                    for summary in reader.messages()
                    for _, _, _, recipients in summary.units
                    for recipient in recipients
                ]
        case _:
            assert_never(column)


def make_older(column: Column, data_dir: Path, by_s: int) -> None:
    """Move the arrival of every waiting message into the past; only while the server is stopped."""
    match column:
        case Column.CHASQUID:
            for path in queue_files(data_dir):
                text = CREATED.sub(lambda m: f"{m[1]}{int(m[2]) - by_s}", path.read_text())
                path.write_text(text)
        case Column.RELEVO:
            connection = apsw.Connection(str(data_dir / "queue.db"))
            connection.execute("UPDATE message SET created = created - ?", (by_s,))
            connection.execute("UPDATE unit SET due = due - ?", (by_s,))
            connection.close()
        case _:
            assert_never(column)
