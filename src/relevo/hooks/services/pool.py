"""A call of a service, within the bounds that hold for every form.

To whoever calls hooks it looks like a pool of launchers: the same arguments, the same report. All
workers together have `max_concurrent` places, of which each has its share.
"""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from relevo.hooks.contract import Accept, InvalidVerdict, Verdict
from relevo.hooks.input_file import octets_of
from relevo.hooks.services.connections import Connections
from relevo.hooks.services.failures import ServiceFailed
from relevo.hooks.settings import worker_count
from relevo.hooks.wire import How, Report

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook
    from relevo.config.hook_target import ServiceAddress

_PIECE = 256 * 1024


class Judged(Report):
    """The report of a call whose form has verdicts of its own; `Report.output` is empty."""

    verdict: Verdict = Accept()


class ServicePool(ABC):
    """The calls of one worker to one service."""

    def __init__(
        self,
        declared: DeclaredHook,
        config: Config,
        address: ServiceAddress,
        context: ssl.SSLContext | None = None,
        most_kept: int = 0,
    ) -> None:
        """`most_kept`: connections that nobody uses; 0: as many as there are places."""
        share = -(-declared.max_concurrent // worker_count(config))
        self._places = asyncio.Semaphore(share)
        self._slot_timeout_s = config.hooks.slot_timeout.total_seconds()
        self.connections = Connections(address, most_kept=most_kept or share, context=context)

    async def call(
        self,
        _words: Sequence[str],
        _environment: Mapping[str, str],
        inputs: Sequence[int | bytes],
        *,
        timeout_s: float,
        max_output: int,
        max_processes: int,
        is_v2: bool = False,
    ) -> Report:
        """Ask it; `inputs` are the message (LF line ends) and the context. Never raises for it."""
        assert is_v2
        assert max_processes
        if self._places.locked():
            try:
                async with asyncio.timeout(self._slot_timeout_s):
                    await self._places.acquire()
            except TimeoutError:
                return Report(How.BUSY)
        else:
            await self._places.acquire()
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                report = await self.ask(inputs[0], octets_of(inputs[1]), max_output)
        except TimeoutError:
            report = Report(How.BROKEN, detail=f"no answer within {timeout_s:g} s")
        except (ServiceFailed, InvalidVerdict) as error:
            report = Report(How.BROKEN, detail=str(error))
        finally:
            self._places.release()
        report.seconds = time.monotonic() - began
        return report

    @abstractmethod
    async def ask(self, message: int | bytes, context: bytes, max_output: int) -> Report:
        """Raises ServiceFailed, InvalidVerdict."""

    def close(self) -> None:
        """No call comes any more."""
        self.connections.close()


def size_of(message: int | bytes) -> int:
    """Octets of a message in memory or in a file."""
    return len(message) if isinstance(message, bytes) else os.fstat(message).st_size


async def piece_of(message: int | bytes, offset: int, size: int = _PIECE) -> bytes:
    """Some octets of it; b"" behind its end."""
    if isinstance(message, bytes):
        return message[offset : offset + size]
    return await asyncio.to_thread(os.pread, message, size, offset)
