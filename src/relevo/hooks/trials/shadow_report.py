"""What shadows said, read back: totals, and every difference that was written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import msgspec

from relevo.hooks.trials.records import (
    ShadowDifference,
    ShadowTotals,
    decode_shadow,
    shadow_folder,
)
from relevo.queue.slices import read_slices

if TYPE_CHECKING:
    from pathlib import Path

_COUNTS = ("calls", "equal", "different", "errors", "dropped", "unlisted")


@dataclass(frozen=True, slots=True)
class TimedDifference:
    """A difference, and when it was found (seconds since the epoch)."""

    time: float
    found: ShadowDifference


@dataclass(slots=True)
class ShadowReport:
    """One shadow. `live`: the hook it is compared with, "" for its whole stage.

    `calls` were compared; `errors` of them failed. `dropped` were not made, since too many were
    under way. `unlisted` are differences that found no room and are missing in `differences`.
    """

    hook: str
    live: str = ""
    stage: str = ""
    calls: int = 0
    equal: int = 0
    different: int = 0
    errors: int = 0
    dropped: int = 0
    unlisted: int = 0
    first: float = 0.0
    last: float = 0.0
    listed: list[TimedDifference] = field(default_factory=list)

    @property
    def differences(self) -> list[ShadowDifference]:
        """In the order of time."""
        return [each.found for each in self.listed]

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        about = {name: getattr(self, name) for name in ("hook", "live", "stage", *_COUNTS)}
        listed = [
            {"time": each.time, **msgspec.to_builtins(_named(each.found))} for each in self.listed
        ]
        return {**about, "first": self.first, "last": self.last, "differences": listed}


def read_report(data_dir: Path, since: float, hook: str = "") -> list[ShadowReport]:
    """Those of all shadows, or of one; a record that cannot be read is left out. Raises OSError."""
    reports: dict[str, ShadowReport] = {}
    for when, octets in read_slices(shadow_folder(data_dir), since):
        try:
            record = decode_shadow(octets)
        except msgspec.MsgspecError:
            continue
        if hook and record.hook != hook:
            continue
        report = reports.setdefault(record.hook, ShadowReport(record.hook, first=when))
        report.first, report.last = min(report.first, when), max(report.last, when)
        _add(report, when, record)
    for report in reports.values():
        report.listed.sort(key=lambda each: each.time)
    return [reports[name] for name in sorted(reports)]


def _add(report: ShadowReport, when: float, record: ShadowTotals | ShadowDifference) -> None:
    report.live, report.stage = record.live, record.stage
    match record:
        case ShadowTotals():
            for name in _COUNTS:
                setattr(report, name, getattr(report, name) + getattr(record, name))
        case ShadowDifference():
            report.listed.append(TimedDifference(when, record))
        case _:
            assert_never(record)


def _named(found: ShadowDifference) -> dict[str, object]:
    """By name: as it is stored it is a list."""
    names = found.__struct_fields__
    return {name: getattr(found, name) for name in names if name not in {"hook", "live", "stage"}}
