"""The mail log of one process: renders events, gathers lines, writes them together.

Whoever serves mail calls `write` and is never troubled: it costs a few microseconds and raises
nothing. Lines of one loop iteration leave in one write of whole lines. What cannot be written (a
full disk, a syslog daemon that does not keep up) is counted, and said once a minute in the daemon
log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from relevo.journal.events import Event
from relevo.journal.maillog import chasquid_line, json_line, plain_line
from relevo.journal.targets import SYSLOG_SOCKET, FileTarget, SyslogTarget, Target

_LOG = logging.getLogger("relevo.journal")

_STANDARD_STREAMS = {"stdout": 1, "stderr": 2}
_MAX_GATHERED = 512  # lines; a burst within one iteration is written in parts
_WARNING_INTERVAL = 60.0  # seconds


class MailLogUnavailable(Exception):
    """The mail log cannot be opened as configured; the text says which and why."""


class MailLog:
    """Writes events to a target in a format.

    `path`: `syslog`, `stdout`, `stderr`, `off` or a file; `line_format`: `chasquid`, `json` or
    `plain`. `call_soon` puts a call at the end of the iteration; None: each event is written at
    once. Raises MailLogUnavailable when a file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        line_format: str = "chasquid",
        *,
        call_soon: Callable[[Callable[[], None]], object] | None,
        tag: str = "relevo",
        colours: bool = False,
        syslog_socket: Path = SYSLOG_SOCKET,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = _renderer(line_format, colours=colours)
        self._path = path
        self._target = _open_target(path, tag, syslog_socket)
        self._stamps = (
            line_format == "chasquid" and self._target is not None and self._target.wants_time
        )
        self._call_soon = call_soon
        self._monotonic = monotonic
        self._gathered: list[bytes] = []
        self._second = -1
        self._second_text = ""
        self._warned_at: float | None = None
        self.lost = 0  # lines that could not be written, since the start

    def write(self, event: Event) -> None:
        """Log an event; it is written before the loop waits again."""
        if self._target is None:
            return
        line = self._render(event)
        if line is None:
            return
        if self._stamps:
            line = self._stamp(event.time) + line
        self._gathered.append(line.encode("utf-8", "replace"))
        if self._call_soon is None or len(self._gathered) >= _MAX_GATHERED:
            self.flush()
        elif len(self._gathered) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what is gathered."""
        if not self._gathered or self._target is None:
            return
        lines, self._gathered = self._gathered, []
        try:
            self._target.write(lines)
        except OSError as error:
            self._note_loss(len(lines), error)

    def reopen(self) -> None:
        """Open a file of the same name again (after log rotation); on failure the old one stays."""
        if self._target is None:
            return
        self.flush()
        try:
            self._target.reopen()
        except OSError as error:
            _LOG.error("mail log %s cannot be reopened, the old one stays: %s", self._path, error)

    def close(self) -> None:
        """Write what is gathered and let go; later events are dropped."""
        self.flush()
        if self._target is not None:
            self._target.close()
            self._target = None

    def _stamp(self, seconds: float) -> str:
        second = int(seconds)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return f"{self._second_text}.{int((seconds - second) * 1_000_000):06} "

    def _note_loss(self, lines: int, error: OSError) -> None:
        self.lost += lines
        now = self._monotonic()
        if self._warned_at is None or now - self._warned_at >= _WARNING_INTERVAL:
            self._warned_at = now
            _LOG.warning(
                "mail log %s cannot be written: %s (%d lines lost so far)",
                self._path,
                error,
                self.lost,
            )


def _renderer(name: str, *, colours: bool) -> Callable[[Event], str | None]:
    match name:
        case "chasquid":
            return chasquid_line
        case "json":
            return json_line
        case "plain":
            return partial(plain_line, colours=colours)
        case _:
            raise ValueError(f"no such mail log format: {name!r}")


def _open_target(path: str, tag: str, syslog_socket: Path) -> Target | None:
    if path == "off":
        return None
    if path in _STANDARD_STREAMS:
        return FileTarget(None, descriptor=_STANDARD_STREAMS[path])
    try:
        if path == "syslog":
            return SyslogTarget(tag, syslog_socket)
        return FileTarget(Path(path))
    except OSError as error:
        if path != "syslog":
            raise MailLogUnavailable(f"mail log {path} cannot be opened: {error}") from error
        _LOG.warning(
            "mail log: no syslog daemon at %s (%s); writing to standard error instead",
            syslog_socket,
            error,
        )
        return FileTarget(None, descriptor=_STANDARD_STREAMS["stderr"])
