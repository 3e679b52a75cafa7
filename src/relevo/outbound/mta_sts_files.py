"""MTA-STS policies kept over restarts: a file a domain in the data directory, for all workers.

A file's time is the end of its policy, so that a look at the folder tells which are over. Blocks;
call it in a thread. What cannot be read counts as absent, what cannot be written is logged: a
policy that is fetched again costs less than mail.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relevo.outbound.mta_sts import BadPolicy, StsPolicy, read_policy

_log = logging.getLogger(__name__)

FOLDER: Final = "mta-sts"
MAX_FILES: Final = 50_000
_SAFE: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_MAX_NAME: Final = 240
_MAX_FILE: Final = 600_000  # a policy of 64 KiB as JSON


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A policy with the id of its record, and when it was fetched (seconds since the epoch)."""

    policy: StsPolicy
    record_id: str
    fetched: float

    @property
    def expires(self) -> float:
        return self.fetched + self.policy.max_age_s


class PolicyFiles:
    """The folder; made when the first policy is kept."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def load(self, domain: str) -> KeptPolicy | None:
        """What is kept of a domain (A-labels, lower case), over or not."""
        path = self._path(domain)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                value = json.loads(file.read(_MAX_FILE))
            policy = read_policy(str(value["policy"]).encode())
            return KeptPolicy(policy, str(value["id"]), float(value["fetched"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, BadPolicy) as error:
            _log.warning("the kept MTA-STS policy of %s cannot be read: %s", domain, error)
            return None

    def save(self, domain: str, kept: KeptPolicy) -> None:
        """Replace what is kept of a domain."""
        path = self._path(domain)
        if path is None:
            return
        text = "\n".join(kept.policy.lines)
        value = {"id": kept.record_id, "fetched": kept.fetched, "policy": text}
        temporary = self._folder / f".{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            temporary.write_text(json.dumps(value))
            os.utime(temporary, (kept.expires, kept.expires))
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            _log.warning("the MTA-STS policy of %s cannot be kept: %s", domain, error)

    def prune(self, now: float) -> None:
        """Remove policies that are over, and the ones that end first where there are too many."""
        try:
            found = [(entry.stat().st_mtime, entry.path) for entry in os.scandir(self._folder)]
        except OSError:
            return
        found.sort()
        surplus = len(found) - MAX_FILES
        for index, (expires, path) in enumerate(found):
            if expires > now and index >= surplus:
                return
            Path(path).unlink(missing_ok=True)

    def _path(self, domain: str) -> Path | None:
        if len(domain) > _MAX_NAME or not _SAFE.fullmatch(domain):
            return None
        return self._folder / f"{domain}.json"
