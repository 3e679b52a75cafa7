"""Which domains are ours: the folders under `domains/`, and always `localhost`.

A folder's name may be written with U-labels or A-labels; inside, the domain has the one normal
form. Plain files and names that start with a dot are no domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.directory.problems import FileError, FileProblem
from relevo.mail.address import InvalidDomain, normalize_domain

if TYPE_CHECKING:
    from pathlib import Path

LOCALHOST = "localhost"


def scan_domains(folder: Path) -> tuple[dict[str, Path], list[FileProblem]]:
    """Folders by normalized domain, sorted; and which folders cannot be used.

    Two names of one domain are fine when one is a link to the other. Raises FileError when the
    folder cannot be read or holds no folder.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_dir())
    except OSError as error:
        raise FileError(FileProblem(folder, 0, f"cannot be read: {error.strerror}")) from error
    found: dict[str, Path] = {}
    problems: list[FileProblem] = []
    for entry in entries:
        try:
            domain = normalize_domain(entry.name)
        except InvalidDomain as error:
            problems.append(
                FileProblem(entry, 0, f"the folder must be named for a domain: {error}")
            )
            continue
        if domain not in found:
            found[domain] = entry
        elif found[domain].resolve() != entry.resolve():
            text = f"the same domain as {found[domain].name}; merge the folders or make one a link"
            problems.append(FileProblem(entry, 0, text))
    if not found and not problems:
        text = "holds no domain; make a folder in it named for each domain"
        raise FileError(FileProblem(folder, 0, text))
    return dict(sorted(found.items())), problems
