"""The hook host: the process below which every hook runs, made before anything is opened.

    python -P -m relevo.hooks.host CONTROL,POOL,POOL…      (descriptors)

The supervisor starts it first, when there is no key, store, listener or TLS context yet, and as a
program of its own: it holds nothing of the server's memory, and its launchers, which share its
pages, stay small. It holds the launchers' ends of the pools' sockets and starts launchers as they
are needed; it starts one again that died, adopts what a dead launcher left and kills it, and ends
with everything below it when told to, or when the supervisor is gone.

It reads no message and knows no hook: all it is told are `PoolSettings`, as JSON lines on its
control socket. What the operator should know goes back there, as lines of text; an empty line is a
sign of life.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.breaker import BreakerTable
from relevo.hooks.descendants import children, kill_descendants
from relevo.hooks.launcher import UNHEARD_AT_FIRST, Launcher
from relevo.hooks.places import Place, Places
from relevo.hooks.prompt import library
from relevo.hooks.rights import become
from relevo.hooks.settings import POOLS, PoolSettings, user_of
from relevo.hooks.worker_launcher import WorkerLauncher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
BEAT = 0.5  # seconds between signs of life, an empty line each
_BACK_OFF = 1.0  # seconds before a pool whose launchers die at once gets new ones
_SHORT_LIFE = 1.0
_CLEAN_UP = 5.0
_MAX_LINE = 1024 * 1024
_STANDARD = 3
_HIGH = 64

decode_settings = msgspec.json.Decoder(tuple[PoolSettings, ...]).decode
encode_settings = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class PoolSockets:
    """Both ends of every pool's request socket, and what workers know together about hooks.

    Made once, before workers are forked, and kept over restarts of the host.
    """

    workers: tuple[socket.socket, ...]
    launchers: tuple[socket.socket, ...]
    breakers: BreakerTable

    @classmethod
    def make(cls) -> PoolSockets:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(POOLS)]
        for ours, _ in pairs:
            ours.setblocking(False)
        ours_of_all, theirs_of_all = zip(*pairs, strict=True)
        return cls(ours_of_all, theirs_of_all, BreakerTable())

    def close(self) -> None:
        for each in (*self.workers, *self.launchers):
            each.close()
        self.breakers.close()


def start_host(sockets: PoolSockets, settings: Sequence[PoolSettings]) -> tuple[int, socket.socket]:
    """Start the host; its process id and the control socket. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        handed = (theirs, *sockets.launchers)
        for each in handed:
            each.set_inheritable(True)
        try:
            descriptors = ",".join(str(each.fileno()) for each in handed)
            command = [sys.executable, "-P", "-m", "relevo.hooks.host", descriptors]
            pid = os.posix_spawn(sys.executable, command, os.environ)
        finally:
            for each in handed:
                each.set_inheritable(False)
    ours.sendall(encode_settings(tuple(settings)) + b"\n")
    ours.setblocking(False)
    return pid, ours


@dataclass(slots=True)
class _Pool:
    """A pool as the host sees it."""

    settings: PoolSettings
    socket: socket.socket
    places: Places
    launchers: dict[int, tuple[int, float]] = field(default_factory=dict)  # place, start by process
    is_started: bool = False
    start_at: float = 0.0

    @property
    def wants_launcher(self) -> bool:
        return self.is_started and self.places.may_grow


class Host:
    """The life of the host, in its own process."""

    def __init__(self, control: socket.socket, sockets: Sequence[socket.socket]) -> None:
        self._control = control
        self._sockets = sockets
        self._pools: dict[int, _Pool] = {}
        self._old: set[int] = set()  # launchers that end after what they are running
        self._is_stopping = False
        self._line = b""
        self._beat_at = 0.0

    def run(self) -> None:
        """Until told to stop, or until the supervisor is gone."""
        self._prepare()
        while not self._is_stopping:
            now = time.monotonic()
            if self._beat_at <= now:
                self._tell("")
                self._beat_at = now + BEAT
            due = [pool.start_at for pool in self._pools.values() if pool.wants_launcher]
            for key, _ in self._selector.select(max(0.0, min([self._beat_at, *due]) - now)):
                key.data()
            now = time.monotonic()
            for pool in self._pools.values():
                if pool.wants_launcher and pool.start_at <= now:
                    self._start_launcher(pool)
        kill_descendants(os.getpid(), patience=_CLEAN_UP)

    def _prepare(self) -> None:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._close_others()
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        self._signals, self._signal_sender = receiver, sender
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # a terminal sends INT to all; we are told
        self._selector = selectors.DefaultSelector()
        self._selector.register(receiver, selectors.EVENT_READ, self._on_signals)
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        self._bell, rope = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Above the numbers that a launcher covers up.
        self._bell_rope = fcntl.fcntl(rope, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        os.close(rope)
        self._selector.register(self._bell, selectors.EVENT_READ, self._on_bell)
        # No terminal, and where the kernel shares processors among sessions (sched(7), autogroup),
        # all hooks together get no more of them than the server.
        os.setsid()

    def _close_others(self) -> None:
        """Nothing of the supervisor's stays open but the sockets of our own."""
        kept = {self._control.fileno(), *(each.fileno() for each in self._sockets)}
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0, inheritable=False)
        for name in [path.name for path in Path("/proc/self/fd").iterdir()]:
            if int(name) >= _STANDARD and int(name) not in kept:
                with contextlib.suppress(OSError):
                    os.close(int(name))

    # -- what happens

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._signals.recv(4096)
        launchers = {pid: pool for pool in self._pools.values() for pid in pool.launchers}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid in launchers:
                self._on_death(launchers[pid], pid, os.waitstatus_to_exitcode(status))
            self._old.discard(pid)
        self._kill_adopted()

    def _on_death(self, pool: _Pool, pid: int, code: int) -> None:
        place, started = pool.launchers.pop(pid)
        pool.places.vacate(place)
        lived = time.monotonic() - started
        pool.start_at = time.monotonic() + (_BACK_OFF if lived < _SHORT_LIFE else 0.0)
        if code:  # else it had nothing to do any more
            self._tell(f"hook launcher {pid} of pool {pool.settings.index} ended with {code}")

    def _kill_adopted(self) -> None:
        """What a dead launcher left below it has become ours."""
        launchers = {pid for pool in self._pools.values() for pid in pool.launchers} | self._old
        strays = [pid for pid in children(os.getpid()) if pid not in launchers]
        if strays:
            done = kill_descendants(os.getpid(), spare=frozenset(launchers), patience=_CLEAN_UP)
            self._tell(f"hooks left {len(strays)} processes" + ("" if done else ", still there"))

    def _on_control(self) -> None:
        try:
            data = self._control.recv(65536)
        except ConnectionError:  # closed before it has read all that we told
            data = b""
        if not data:
            self._is_stopping = True
            return
        self._line += data
        while b"\n" in self._line:
            line, _, self._line = self._line.partition(b"\n")
            self._configure(decode_settings(line))
        if len(self._line) > _MAX_LINE:
            self._is_stopping = True

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a supervisor that does not read holds up no hook
            self._control.send(text.encode() + b"\n", socket.MSG_DONTWAIT)

    # -- pools

    def _configure(self, settings: tuple[PoolSettings, ...]) -> None:
        """Pools as they shall be from now on; a changed one's launchers end after their call."""
        if not self._pools and settings and not any(each.run_as for each in settings):
            with contextlib.suppress(OSError, KeyError):  # then the launchers say so
                become(
                    user_of(settings[0])
                )  # else it stays root: only then can it be somebody else
        wanted = {each.index: each for each in settings}
        for index, pool in list(self._pools.items()):
            if pool.settings != wanted.get(index):
                self._retire(pool)
                del self._pools[index]
        for index, each in wanted.items():
            if index not in self._pools:
                pool = _Pool(each, self._sockets[index], Places(each.slots))
                self._pools[index] = pool
                self._selector.register(
                    pool.socket, selectors.EVENT_READ, partial(self._on_first_request, pool)
                )

    def _retire(self, pool: _Pool) -> None:
        if not pool.is_started:
            self._selector.unregister(pool.socket)
        for pid in pool.launchers:
            self._old.add(pid)
            os.kill(pid, signal.SIGTERM)

    def _on_first_request(self, pool: _Pool) -> None:
        self._selector.unregister(pool.socket)
        pool.is_started = True

    def _on_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)

    def _start_launcher(self, pool: _Pool) -> None:
        number = pool.places.claim()
        if number is None:
            return
        # A launcher that is told to end before it listens to that would go on as it was.
        signal.pthread_sigmask(signal.SIG_BLOCK, UNHEARD_AT_FIRST)
        pid = os.fork()
        if pid == 0:
            self._become_launcher(pool, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, UNHEARD_AT_FIRST)
        pool.launchers[pid] = (number, time.monotonic())

    def _become_launcher(self, pool: _Pool, number: int) -> None:
        """In the child; never returns."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for each in (self._control, self._signals, self._signal_sender, *self._sockets):
                if each is not pool.socket:
                    each.close()
            os.close(self._bell)
            os.nice(pool.settings.niceness)
            launcher = WorkerLauncher if pool.settings.in_flight else Launcher
            launcher(pool.socket, pool.settings, Place(pool.places, number, self._bell_rope)).run()
            code = 0
        finally:
            os._exit(code)


def main(descriptors: str) -> None:
    """The program. `descriptors`: the control socket's, then those of the pools."""
    library()  # here, so that launchers need not look for it
    gc.collect()
    gc.freeze()  # the launchers share these pages
    gc.disable()
    control, *pools = (socket.socket(fileno=int(number)) for number in descriptors.split(","))
    for each in (control, *pools):
        each.set_inheritable(False)
    Host(control, pools).run()


if __name__ == "__main__":
    main(sys.argv[1])
