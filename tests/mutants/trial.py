"""Small faults made in a copy of the sources, and whether the test named for each finds it.

A test that no fault can fail proves nothing. So each entry of `faults.toml` names a unit test,
which must pass on the copy as it is and fail on the copy with the fault.

The copy comes first on the path, before that of an editable install. Each trial is a process forked
from a worker that has no sources of ours imported. Whatever a faulty source leaves running is
killed after its trial: the worker is a child subreaper.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from importlib.util import cache_from_source
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import pytest

from relevo.hooks.descendants import kill_descendants

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
FAULTS = Path(__file__).with_name("faults.toml")
DEADLINE_S = 60.0  # of one trial; its tests take seconds
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PYTEST = ("-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "--timeout=30")
# Half of the time of a short test is what these take to be imported.
_PRELOADED = (
    "apsw", "click", "cryptography.x509", "dns.message", "hypothesis.stateful", "msgspec",
    "precis_i18n", "scramp", "uvloop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """In `file`, `old` becomes `new`; `test` must find out."""

    what: str
    file: str  # below src/relevo/
    old: str
    new: str
    test: str  # a pytest node below tests/unit/

    @property
    def room(self) -> str:
        return self.file.partition("/")[0]

    def mutated(self, text: str) -> str | None:
        """The source with the fault; None: it stands there no more, or not only once."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None


class Verdict(Enum):
    """What came of a trial."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    STALE = "DOES NOT APPLY"
    BROKEN = "BROKEN"  # no test ran, or none came to an end


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault and how it went; `output` is pytest's, when it is of interest."""

    fault: Fault
    verdict: Verdict
    seconds: float
    output: str = ""


class BaselineFailed(Exception):
    """A test that is to find a fault fails without one; the text is pytest's output."""


def load() -> tuple[Fault, ...]:
    """All faults, in the order of the file."""
    return tuple(Fault(**entry) for entry in tomllib.loads(FAULTS.read_text())["fault"])


def one_a_room(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The first fault of each room, for a short form."""
    first: dict[str, Fault] = {}
    for fault in faults:
        first.setdefault(fault.room, fault)
    return tuple(first.values())


class Copy:
    """A copy of the sources that tests can be run against, in a process made for that."""

    def __init__(self, folder: Path) -> None:
        self._sources = folder / "src"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCES, self._sources, ignore=ignored)
        self._output = folder / "output"

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """pytest's exit status and output; a status of -1: it did not end in time."""
        nodes = [f"tests/unit/{test}" for test in tests]
        pid = os.fork()
        if not pid:
            status = -1
            try:
                status = self._run(nodes)
                sys.stdout.flush()
            finally:
                os._exit(status)  # nothing of the worker may go on here
        deadline = time.monotonic() + DEADLINE_S
        ended: int | None = None
        while ended is None and time.monotonic() < deadline:
            done, word = os.waitpid(pid, os.WNOHANG)
            ended = os.waitstatus_to_exitcode(word) if done else None
            time.sleep(0.01)
        kill_descendants(os.getpid(), patience=5.0)
        return -1 if ended is None else ended, self._output.read_text(errors="replace")

    def _run(self, nodes: list[str]) -> int:
        """pytest in a child of this process, which has imported what takes long."""
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(ROOT)
        os.environ["PYTHONPATH"] = str(self._sources)  # for the processes that tests start
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling takes longer than most tests
        sys.dont_write_bytecode = False
        sys.path.insert(0, str(self._sources))
        import relevo

        if not Path(relevo.__file__).is_relative_to(self._sources):
            print(f"not the copy was imported but {relevo.__file__}")
            return -1  # no status of pytest's
        return pytest.main([*_PYTEST, *nodes])

    def try_out(self, fault: Fault) -> Trial:
        """Make the fault, run its test, take the fault back."""
        started = time.monotonic()
        with self._with(fault) as is_made:
            if not is_made:
                return Trial(fault, Verdict.STALE, 0.0)
            status, output = self.run([fault.test])
        seconds = time.monotonic() - started
        if status == pytest.ExitCode.TESTS_FAILED:
            return Trial(fault, Verdict.KILLED, seconds)
        return Trial(fault, Verdict.BROKEN if status else Verdict.SURVIVED, seconds, output)

    @contextmanager
    def _with(self, fault: Fault) -> Iterator[bool]:
        path = self._sources / "relevo" / fault.file
        right = path.read_text() if path.exists() else ""
        wrong = fault.mutated(right)
        if wrong is None:
            yield False
            return
        self._write(path, wrong)
        try:
            yield True
        finally:
            self._write(path, right)

    def _write(self, path: Path, text: str) -> None:
        """Two texts of one length within a second look alike to the import system."""
        path.write_text(text)
        Path(cache_from_source(str(path))).unlink(missing_ok=True)


class Worker:
    """One of the processes that try faults, each in a copy of its own."""

    _copy: Copy

    @classmethod
    def begin(cls, folder: str) -> None:
        """Become a subreaper, import what takes long, forget our sources, copy them."""
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for name in _PRELOADED:
            import_module(name)
        for name in [name for name in sys.modules if name.partition(".")[0] == "relevo"]:
            del sys.modules[name]
        cls._copy = Copy(Path(folder) / str(os.getpid()))

    @classmethod
    def try_out(cls, fault: Fault) -> Trial:
        return cls._copy.try_out(fault)

    @classmethod
    def check(cls, tests: Sequence[str]) -> str:
        """Why the tests fail without a fault; "" when they do not."""
        status, output = cls._copy.run(tests)
        return output if status else ""


class Bench:
    """Tries faults in worker processes. A context manager; the folder is the caller's."""

    def __init__(self, folder: Path, *, jobs: int) -> None:
        self._pool = ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=Worker.begin, initargs=(str(folder),)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def try_all(
        self, faults: Sequence[Fault], *, told: Callable[[Trial], None] = lambda _trial: None
    ) -> tuple[Trial, ...]:
        """Try each fault; `told` hears of each trial in order. Raises BaselineFailed."""
        tests = list(dict.fromkeys(fault.test for fault in faults))
        baseline = self._pool.submit(Worker.check, tests)
        trials: list[Trial] = []
        for trial in self._pool.map(Worker.try_out, faults):
            told(trial)
            trials.append(trial)
        if failure := baseline.result():
            raise BaselineFailed(failure)
        return tuple(trials)
