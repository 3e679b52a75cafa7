"""Everything that a server will read, read once, at its start and before a reload is taken."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from relevo.config import ConfigErrors, Severity, check_local
from relevo.delivery import parse_pattern
from relevo.directory import DirectoryWatcher
from relevo.hooks.sandbox_trial import check_sandboxes
from relevo.service.certificates import Certificates
from relevo.service.logs import open_maillog
from relevo.service.monitoring import read_token

if TYPE_CHECKING:
    from relevo.config import Config

logger = logging.getLogger("relevo.supervisor")


def validate(config: Config) -> DirectoryWatcher:
    """Everything that a worker will read, read once; warnings are logged.

    Raises ConfigErrors, DirectoryErrors, CertificateError, InvalidPattern, MailLogUnavailable,
    SandboxUnavailable, TokenUnusable.
    """
    problems = check_local(config)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigErrors(errors)
    for problem in (*config.warnings, *problems):
        logger.warning("%s", problem)
    check_sandboxes(config)
    kind, _, pattern = config.delivery.local.partition(":")
    if kind == "maildir":
        parse_pattern(pattern)
    watcher = DirectoryWatcher(config)
    read_token(config)
    Certificates(config.config_dir / "certs").refresh()
    open_maillog(config, call_soon=None).close()
    return watcher
