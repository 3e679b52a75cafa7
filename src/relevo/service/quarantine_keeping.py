"""Messages that were in quarantine for too long are dropped, by one worker."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import apsw

from relevo.queue import DatabaseError, open_reader
from relevo.queue.quarantine import EXPIRED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relevo.config import Config
    from relevo.queue import SqliteStore

logger = logging.getLogger("relevo.quarantine")

INTERVAL_S = 60.0
AT_ONCE = 500


async def drop_expired(store: SqliteStore, config: Callable[[], Config]) -> None:
    """Look every minute, for ever."""
    while True:
        kept = await store.quarantined()
        before = time.time() - config().quarantine.keep.total_seconds()
        if kept.oldest is not None and kept.oldest < before:
            await asyncio.to_thread(expire, config().data_dir, before)
        await asyncio.sleep(INTERVAL_S)


def expire(data_dir: Path, before: float) -> int:
    """Drop what came into quarantine before; how many there were. Blocking."""
    number = 0
    try:
        with open_reader(data_dir) as reader:
            while found := reader.older_in_quarantine(before, AT_ONCE):
                number += reader.drop(found, EXPIRED)
    except (DatabaseError, apsw.Error, OSError):
        logger.exception("messages in quarantine that are too old cannot be dropped now")
    if number:
        logger.info("dropped from quarantine, since they were there for too long: %d", number)
    return number
