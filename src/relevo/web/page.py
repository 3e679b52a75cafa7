"""The status page: plain HTML without scripts. Whatever is shown went through `html.escape`."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

from relevo.journal import plain_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relevo.journal import Event
    from relevo.web.figures import Figures

_STYLE = (
    "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left;"
    "vertical-align:top}pre{overflow-x:auto}.bad{color:#b00;font-weight:bold}"
)
_LINKS = ("/metrics", "/metrics/relevo", "/metrics/chasquid", "/healthz", "/readyz")
_SOON = 14 * 86400  # seconds of validity left of a certificate, below which it is marked


def status_page(figures: Figures, events: Sequence[Event]) -> str:
    """The page at `/`; `events` newest first."""
    title = f"relevo on {figures.hostname}"
    state = "ready" if figures.is_ready else "not ready"
    listeners = [
        (key, address) for key, addresses in figures.listeners.items() for address in addresses
    ]
    workers = [
        (
            str(worker.pid or "none"),
            "store suspended"
            if worker.is_suspended
            else "ready"
            if worker.is_ready
            else "starting",
            str(worker.restarts),
        )
        for worker in figures.workers
    ]
    links = " ".join(f'<a href="{link}">{link}</a>' for link in _LINKS)
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>",
            f"<h1>{escape(title)}</h1>\n",
            f"<p>relevo {escape(figures.version)}, {_state(state, is_bad=not figures.is_ready)}, ",
            f"up {_span(figures.now - figures.started)} ",
            f"since {_moment(figures.started)}. Data in {escape(figures.data_dir)}.</p>\n",
            _section("Queue", ("", ""), _queue(figures)),
            _section("Listeners", ("for", "address"), listeners),
            _certificates(figures),
            _section("Workers", ("process", "state", "restarts"), workers),
            _section("Counters", ("", ""), _counters(figures)),
            _events(events),
            f"<p>{links}</p>\n</body></html>\n",
        )
    )


def _queue(figures: Figures) -> list[tuple[str, str]]:
    counts = figures.queue
    if counts is None:
        return [("the queue", "cannot be read")]
    rows = [("messages", str(counts.messages)), ("being delivered", str(counts.leased))]
    if figures.oldest is not None:
        rows.append(("oldest message", f"{_span(figures.now - figures.oldest)} old"))
    if counts.next_due is not None:
        rows.append(("next try", _moment(counts.next_due)))
    if counts.quarantined.messages:
        rows.append(("in quarantine", str(counts.quarantined.messages)))
    return rows


def _counters(figures: Figures) -> list[tuple[str, str]]:
    rows = [("open connections", str(figures.connections))]
    for name, value in figures.totals.items():
        if not name.endswith("_us"):
            rows.append((name.replace("_", " "), str(value)))
    return rows


def _certificates(figures: Figures) -> str:
    rows = []
    for name, end in figures.certificates.items():
        left = end - figures.now
        text = f"{_moment(end)}, " + ("expired" if left <= 0 else f"in {_span(left)}")
        rows.append(f"<tr><td>{escape(name)}</td><td>{_state(text, is_bad=left < _SOON)}</td></tr>")
    return f"<h2>Certificates</h2>\n{_table(('certificate', 'valid until'), rows)}"


def _events(events: Sequence[Event]) -> str:
    lines = "\n".join(escape(plain_line(event)) for event in events)
    return f"<h2>Last events</h2>\n<pre>{lines or 'none'}</pre>\n"


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<h2>{escape(title)}</h2>\n{_table(head, cells)}"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return "<p>none</p>\n"
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    top = f"<tr>{titles}</tr>\n" if any(head) else ""
    return "<table>" + top + "\n".join(rows) + "</table>\n"


def _state(text: str, *, is_bad: bool) -> str:
    return f'<span class="bad">{escape(text)}</span>' if is_bad else escape(text)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _span(seconds: float) -> str:
    """Two units at most: `3 d 4 h`."""
    left = max(0, int(seconds))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"
