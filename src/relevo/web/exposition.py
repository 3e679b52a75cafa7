"""Metrics as text: OpenMetrics 1.0, Prometheus' text format 0.0.4, and chasquid's bare form.

OpenMetrics and the older format differ in where a counter's `_total` stands (behind the name in
the samples only, or in the name itself), in the kinds they know, and in the end mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(Enum):
    """What a family is; the values are the words of the format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value with its labels; `suffix` is for the parts of a histogram."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric; `name` is without `_total` and `_info`, and ends in `unit` where it has one."""

    name: str
    kind: Kind
    doc: str
    samples: tuple[Sample, ...]
    unit: str = ""


_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def labelled(name: str, values: Mapping[str, float]) -> tuple[Sample, ...]:
    """A sample for each value of one label."""
    return tuple(Sample(value, ((name, label),)) for label, value in values.items())


def openmetrics(families: Iterable[Family]) -> str:
    """OpenMetrics 1.0, with its end mark."""
    lines = []
    for family in families:
        lines.append(f"# TYPE {family.name} {family.kind.value}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {_escaped(family.doc)}")
        lines += _samples(family)
    return "\n".join((*lines, "# EOF")) + "\n"


def prometheus_text(families: Iterable[Family]) -> str:
    """The text format 0.0.4 that every Prometheus reads."""
    lines = []
    for family in families:
        name = family.name + _SUFFIXES.get(family.kind, "")
        kind = Kind.GAUGE if family.kind is Kind.INFO else family.kind
        lines.append(f"# HELP {name} {_escaped(family.doc)}")
        lines.append(f"# TYPE {name} {kind.value}")
        lines += _samples(family)
    return "\n".join(lines) + "\n"


def chasquid_text(families: Iterable[Family]) -> str:
    """As chasquid writes it: only HELP, counters without `_total`, the end mark."""
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.doc)}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join((*lines, "# EOF")) + "\n"


def _samples(family: Family) -> list[str]:
    name = family.name + _SUFFIXES.get(family.kind, "")
    return [_line(name + sample.suffix, sample) for sample in family.samples]


def _line(name: str, sample: Sample) -> str:
    if not sample.labels:
        return f"{name} {_number(sample.value)}"
    labels = ",".join(f'{label}="{_escaped(text, quotes=True)}"' for label, text in sample.labels)
    return f"{name}{{{labels}}} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
