"""Reports of others that were imported: a file each in the data directory."""

from __future__ import annotations

import dataclasses
import email
import hashlib
import json
from email.message import Message
from typing import TYPE_CHECKING, Any

from relevo.mailauth.dmarc.failure_reading import FailureReport, read_failure_report
from relevo.mailauth.dmarc.report_reading import (
    AggregateReport,
    BadReport,
    ReportRow,
    read_report,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = "dmarc-received"
MAX_FILE = 32 * 1024 * 1024
MAX_PARTS = 100  # of a message

_STARTS = (b"\x1f\x8b", b"PK\x03\x04", b"<", b"\xef\xbb\xbf<", b"\xff\xfe", b"\xfe\xff")


Report = AggregateReport | FailureReport


def reports_of(octets: bytes) -> list[Report]:
    """Of a report's file, or a message that carries or is one. Raises BadReport."""
    if len(octets) > MAX_FILE:
        raise BadReport(f"larger than {MAX_FILE} octets")
    if octets.lstrip().startswith(_STARTS):
        return [read_report(octets)]
    message: Message = email.message_from_bytes(octets)
    failure = read_failure_report(message)
    if failure is not None:
        return [failure]
    found: list[Report] = [read_report(part) for part in _attachments(message)]
    if not found:
        raise BadReport("it is neither a report nor a message with one")
    return found


def _attachments(message: Message) -> Iterator[bytes]:
    for number, part in enumerate(message.walk()):
        if number >= MAX_PARTS:
            return
        content = part.get_payload(decode=True) if not part.is_multipart() else None
        if isinstance(content, bytes) and content.lstrip().startswith(_STARTS):
            is_text = part.get_content_type() in {"text/plain", "text/html"}
            if not is_text:
                yield content


class KeptReports:
    """The folder. Raises OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def add(self, report: Report) -> str:
        """Keep a report; its name, by which one that comes again replaces itself."""
        text = json.dumps(dataclasses.asdict(report))
        key = f"{report.organization}\n{report.report_id}\n{report.domain}\n{report.begin}"
        name = hashlib.sha256(key.encode()).hexdigest()[:12]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{name}.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(path)
        return name

    def all(self) -> list[tuple[str, Report]]:
        """Names and reports, oldest first."""
        found = [(path.stem, _read(path)) for path in self._folder.glob("*.json")]
        return sorted(found, key=lambda each: (each[1].begin, each[0]))

    def get(self, name: str) -> Report | None:
        """The one report whose name starts so."""
        if not name.isalnum():
            return None
        paths = list(self._folder.glob(f"{name}*.json"))
        return _read(paths[0]) if len(paths) == 1 else None


def _read(path: Path) -> Report:
    plain: dict[str, Any] = json.loads(path.read_bytes())
    if "rows" not in plain:
        return FailureReport(**plain)
    rows = tuple(map(_row, plain.pop("rows")))
    return AggregateReport(**plain, rows=rows)


def _row(plain: dict[str, Any]) -> ReportRow:
    dkim, spf = tuple(plain.pop("dkim_results")), tuple(plain.pop("spf_results"))
    return ReportRow(**plain, dkim_results=dkim, spf_results=spf)
