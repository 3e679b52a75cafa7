"""Small faults, made in a copy of our sources, that the suites must find out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in `module`, `right` becomes `wrong`, wherever it stands."""

    name: str
    module: str
    right: str
    wrong: str
    appended: str = ""  # at the end of the module


ANSWER_FIRST = Mutant(
    "the 250 before the commit",
    "relevo/reception/dialogue.py",
    "await self._services.store.add(",
    "await _add_later(self._services)(",
    """\


def _add_later(services):
    import asyncio

    async def add(message, **how):
        adding = asyncio.ensure_future(services.store.add(message, **how))
        adding.add_done_callback(lambda done: services.take(done.result(), ()))
        return ()

    return add
""",
)
NO_RENAME = Mutant(
    "no rename from tmp to new",
    "relevo/delivery/maildir.py",
    "os.rename(",
    "(lambda *_names, **_folders: None)(",
)


NO_COMMIT_SYNC = Mutant(
    "commits without a sync",
    "relevo/queue/database.py",
    '"synchronous", "FULL"',
    '"synchronous", "OFF"',
)
NO_SPOOL_SYNC = Mutant(
    "segments without a sync", "relevo/queue/disk.py", "os.fdatasync(descriptor)", "pass"
)
SYNC_AGAIN = Mutant(
    "a sync that failed is tried again",
    "relevo/queue/disk.py",
    "os.fdatasync(descriptor)",
    "_sync_until_it_succeeds(descriptor)",
    """\


def _sync_until_it_succeeds(descriptor):
    while True:
        try:
            return os.fdatasync(descriptor)
        except OSError:
            pass
""",
)


class MutantDoesNotFit(AssertionError):
    """The source has changed: the mutant has to be written anew."""


def mutated_sources(folder: Path, mutant: Mutant) -> Path:
    """A copy of the sources with the fault, for PYTHONPATH."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / mutant.module
    text = module.read_text()
    if mutant.right not in text:
        raise MutantDoesNotFit(f"{mutant.name}: {mutant.module} has changed")
    module.write_text(text.replace(mutant.right, mutant.wrong) + mutant.appended)
    return folder
