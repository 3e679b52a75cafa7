"""The logs: the daemon's own (one line a record, to stderr or a file), and the mail log."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.journal import MailLog

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

    from relevo.config import Config


class LogUnavailable(Exception):
    """The log file cannot be opened; the text says which and why."""


class _OneLine(logging.Formatter):
    """`2026-11-24 07:39:31.123 INFO relevo.worker[123]: text`; controls escaped."""

    default_msec_format = "%s.%03d"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode()
            for char in record.message
        )
        return super().formatMessage(record)


def open_maillog(
    config: Config, *, call_soon: Callable[[Callable[[], None]], object] | None
) -> MailLog:
    """The mail log of the configuration. Raises MailLogUnavailable."""
    return MailLog(
        config.mail_log.path,
        config.mail_log.format,
        call_soon=call_soon,
        tag=config.profile,
        colours=config.mail_log.path == "stdout" and sys.stdout.isatty(),
    )


def setup_logging(config: Config) -> None:
    """Send all records where the configuration says; called again on reload (reopens the file).

    Raises LogUnavailable; then records go where they went before.
    """
    try:
        handler = (
            logging.StreamHandler(sys.stderr)
            if config.log.file == "stderr"
            else logging.FileHandler(config.log.file, encoding="utf-8")
        )
    except OSError as error:
        raise LogUnavailable(
            f"log file {config.log.file} cannot be opened: {error.strerror} (see `log.file`)"
        ) from error
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"))
    root.addHandler(handler)
    if handler.stream is not None:
        with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
            faulthandler.enable(handler.stream)  # ABRT to a process that hangs: say where, and end
    root.setLevel(config.log.level.upper())


def hand_over_log(config: Config, user: pwd.struct_passwd) -> None:
    """Let `user`, whom we are about to become, open the log file again. Raises LogUnavailable."""
    path = Path(config.log.file)
    if config.log.file == "stderr" or not path.is_file():
        return
    try:
        os.chown(path, user.pw_uid, user.pw_gid)
    except OSError as error:
        raise LogUnavailable(f"log file {path} cannot be given away: {error.strerror}") from error
