"""Which domains are ours: the folders under `domains/`, and always `localhost`.

A folder's name may be written with U-labels or A-labels; inside, the domain has the one normal
form. Plain files and names that start with a dot are no domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.directory.problems import FileProblem
from relevo.mail.address import InvalidDomain, normalize_domain

if TYPE_CHECKING:
    from pathlib import Path

LOCALHOST = "localhost"


def scan_domains(folder: Path) -> tuple[dict[str, Path], list[FileProblem]]:
    """Folders by normalized domain, sorted, and what was wrong.

    Two names of one domain are fine when one is a link to the other.
    """
    found: dict[str, Path] = {}
    problems: list[FileProblem] = []
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        return {}, [FileProblem(folder, 0, f"cannot read the folder of domains: {error.strerror}")]
    for entry in entries:
        if not entry.is_dir():
            continue
        try:
            domain = normalize_domain(entry.name)
        except InvalidDomain as error:
            problems.append(FileProblem(entry, 0, f"the folder's name must be a domain: {error}"))
            continue
        if domain not in found:
            found[domain] = entry
        elif found[domain].resolve() != entry.resolve():
            text = f"the same domain as {found[domain].name}; merge the folders or make one a link"
            problems.append(FileProblem(entry, 0, text))
    return dict(sorted(found.items())), problems
