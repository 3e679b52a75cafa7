"""From an old key to a new one, a step at a time; where we are is told by the names of the files.

`dkim:S.pem.next` is made and waits for its record in DNS; `dkim:S.pem` signs; `dkim:S.pem.retired`
signs no more, and its record stays in DNS for mail under way. Only names ending in `.pem` are keys
to the server (and to chasquid).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.cli.dkim_files import (
    DkimRefused,
    folder_of,
    keys_of,
    published,
    read_file,
    resolver_of,
    unused_selector,
    write_key,
)
from relevo.config.layout import DkimKeyFile
from relevo.directory.replacement import exclusive
from relevo.mailauth.dkim.private_key import REVOKED_RECORD, key_record, zone_line

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.mailauth.dkim.private_key import KeyKind, SigningKey

OVERLAP_S = 7 * 24 * 3600  # longer than servers keep trying

_NEXT = ".pem.next"
_RETIRED = ".pem.retired"


def rotate_once(
    config: Config, domain: str, kind: KeyKind, selector: str, *, now: float, force: bool
) -> list[str]:
    """Take the next step; what was done and what is to be done, as lines. Raises DkimRefused."""
    folder = folder_of(config.config_dir, domain)
    try:
        revoked = _revoke(folder, domain, now, force=force)
        if revoked:
            return revoked
        prepared = _files(folder, _NEXT)
        if prepared:
            return _activate(config, domain, folder, prepared[0], now, force=force)
        retired = _files(folder, _RETIRED)
        if retired:
            days = max(1, round((OVERLAP_S - _age(retired[0].path, now)) / 86400))
            name = retired[0].selector
            return [f"{name} signs no more. Its record stays in DNS for {days} more days."]
        selector = selector or unused_selector(folder, now)
        write_key(folder, selector, kind, config.config_dir, config.server.user, _NEXT)
        key = read_file(domain, _files(folder, _NEXT)[0])
    except OSError as error:
        raise DkimRefused(f"{error.filename}: {error.strerror}") from error
    return [
        f"made the key {selector}, which signs nothing yet.",
        "Publish this in DNS, then run the command again:",
        "",
        zone_line(domain, selector, key_record(key.key)),
    ]


def _activate(
    config: Config, domain: str, folder: Path, file: DkimKeyFile, now: float, *, force: bool
) -> list[str]:
    """The next key signs in the place of those of its kind, when all can find it."""
    key = read_file(domain, file)

    async def ask() -> str:
        return await published(key, resolver_of(config))

    problem = "" if force else asyncio.run(ask())
    if problem:
        return [
            f"{file.selector} signs nothing yet; of its record in DNS: {problem}.",
            "Publish this, then run the command again:",
            "",
            zone_line(domain, file.selector, key_record(key.key)),
        ]
    old = [other for other in keys_of(config.config_dir, domain) if _replaces(key, other)]
    with exclusive(folder):
        file.path.rename(folder / f"dkim:{file.selector}.pem")
        for other in old:
            path = folder / f"dkim:{other.selector}.pem"
            os.utime(path, (now, now))
            path.rename(folder / f"dkim:{other.selector}{_RETIRED}")
    lines = [f"{file.selector} signs from now on."]
    if old:
        names = ", ".join(other.selector for other in old)
        lines.append(
            f"{names} signs no more. Leave its record in DNS for a week, then run this again."
        )
    return lines


def _replaces(key: SigningKey, other: SigningKey) -> bool:
    return key.is_rsa == other.is_rsa


def _revoke(folder: Path, domain: str, now: float, *, force: bool) -> list[str]:
    """Retired keys whose time is over: their files go, their records say that they are void."""
    lines = []
    for file in _files(folder, _RETIRED):
        if force or _age(file.path, now) >= OVERLAP_S:
            file.path.unlink()
            lines.append(zone_line(domain, file.selector, REVOKED_RECORD))
    if lines:
        return ["Old keys are revoked. Publish this in the place of their records:", "", *lines]
    return []


def _age(path: Path, now: float) -> float:
    return now - path.stat().st_mtime


def _files(folder: Path, ending: str) -> list[DkimKeyFile]:
    return [
        DkimKeyFile(path.name.removeprefix("dkim:").removesuffix(ending), path)
        for path in sorted(folder.iterdir())
        if path.name.startswith("dkim:") and path.name.endswith(ending)
    ]
