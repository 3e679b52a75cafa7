"""A worker that gets no memory any more is replaced.

Every error that ends nothing is logged where it is caught, with its traceback; so that is where a
`MemoryError` is seen, whatever it hit. One that was answered as "try again later" leaves nothing
broken, but the next one will come, and the others have the memory that this worker holds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOGGERS = ("relevo", "asyncio")


class MemoryAlarm(logging.Handler):
    """Calls `act`, once, when a MemoryError is logged; in the thread that it hit."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(logging.WARNING)
        self._act: Callable[[], object] | None = act
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        act = self._act
        if act is not None and record.exc_info and isinstance(record.exc_info[1], MemoryError):
            self._act = None
            act()

    def close(self) -> None:
        """No more calls."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self)
        super().close()
