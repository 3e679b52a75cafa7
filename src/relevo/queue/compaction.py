"""Mostly dead segments given back: the few messages that still wait in them get files of their own.

A segment is free again only when no row points into it. One message that waits for days would
keep all of it, and of much mail a little always waits. So when what lives in a segment is a small
part of it, each of those records is copied into a file of its own, durably, and its row is
pointed there. The segment's owner then finds it dead and uses it again.

A message that is being delivered is left for the next round: its worker reads from the old place.
The row is changed within the turn, and only if nothing of it changed meanwhile, so a worker that
leases it later sees the new place.
"""

from __future__ import annotations

from typing import Any

import apsw

from relevo.queue.content import ContentUnreadable
from relevo.queue.database import QueuePaths, Transaction, Turn
from relevo.queue.disk import Disk
from relevo.queue.generations import OWN_FILE, SEGMENT, Generation, SpoolName, is_live
from relevo.queue.leases import content_of
from relevo.queue.own_files import write_own_file
from relevo.queue.records import (
    HEADER_SIZE,
    Header,
    Metadata,
    RecordDamaged,
    decode_metadata,
    encode,
)

QUIET = 600.0  # seconds in which nothing was written into a segment: its owner is past it
_SHARE = 8  # it is mostly dead when less than 1/8 of it lives
_MOST_MESSAGES = 64  # of a segment, and in one round
_MOST_OCTETS = 16 * 1024 * 1024  # in one round

_SPARSE = (
    "SELECT file FROM message WHERE file IS NOT NULL AND file GLOB '*.seg'"
    " GROUP BY file HAVING count(*) <= ?"
)
_LIVING = "SELECT id, start, size FROM message WHERE file = ? ORDER BY start"
_MOVE = """
UPDATE message SET file = ?, start = NULL WHERE id = ? AND file = ? AND start = ?
    AND NOT EXISTS (SELECT 1 FROM unit WHERE message = id AND owner >= 0)
"""


def compact(
    paths: QueuePaths,
    connection: apsw.Connection,
    turn: Turn,
    generation: Generation,
    disk: Disk,
    *,
    now: float,
    doubtful: list[str],
) -> int:
    """Move what lives in mostly dead segments, a bounded amount; returns how many messages.

    Raises apsw.Error, OSError; the copy that was being made is in `doubtful` then, and goes at the
    beginning of a later round. A damaged record stays where it is.
    """
    _remove_doubtful(paths, connection, turn, disk, doubtful)
    moved, octets = 0, 0
    for (file,) in connection.execute(_SPARSE, (_MOST_MESSAGES,)).fetchall():
        living = _living(paths, connection, str(file), now)
        for identity, start, size in living:
            if moved == _MOST_MESSAGES or octets >= _MOST_OCTETS:
                return moved
            name = generation.new_name(OWN_FILE)
            doubtful.append(str(name))
            if _move(paths, connection, turn, name, disk, (identity, str(file), start, size)):
                moved += 1
                octets += size
            doubtful.pop()
    return moved


def _remove_doubtful(
    paths: QueuePaths, connection: apsw.Connection, turn: Turn, disk: Disk, names: list[str]
) -> None:
    """Remove copies whose commit failed, if no row points there.

    Not before another commit: what stands in the WAL of one that failed could come back with the
    next recovery, and would point to a file that is gone.
    """
    if not names:
        return
    with turn, Transaction(connection):
        connection.execute("UPDATE counter SET messages = messages")
    while names:
        if not is_live(connection, names[-1]):
            disk.unlink(paths.spool / names[-1])
        names.pop()


def _living(
    paths: QueuePaths, connection: apsw.Connection, file: str, now: float
) -> list[tuple[Any, ...]]:
    """What lives in a segment that is mostly dead; nothing of any other file."""
    name = SpoolName.parse(file)
    if name is None or name.kind != SEGMENT:
        return []
    try:
        status = (paths.spool / file).stat()
    except FileNotFoundError:
        return []
    if now - status.st_mtime < QUIET:
        return []
    rows: list[Any] = connection.execute(_LIVING, (file,)).fetchall()
    return rows if sum(row[2] for row in rows) * _SHARE < status.st_size else []


def _move(
    paths: QueuePaths,
    connection: apsw.Connection,
    turn: Turn,
    name: SpoolName,
    disk: Disk,
    place: tuple[str, str, int, int],
) -> bool:
    """Copy one record and point its row there; False when it is damaged or in use."""
    identity, file, start, size = place
    path = paths.spool / str(name)
    try:
        metadata = encode(_metadata(paths, file, start))
        content = content_of(None, file, start, size, paths.spool)
        write_own_file(path, name.number, content.chunks(), metadata, disk)
    except (RecordDamaged, ContentUnreadable):
        return False
    disk.sync_directory(paths.spool)
    with turn, Transaction(connection):
        connection.execute(_MOVE, (str(name), identity, file, start))
        is_moved = connection.changes() == 1
    if not is_moved:
        disk.unlink(path)
    return is_moved


def _metadata(paths: QueuePaths, file: str, start: int) -> Metadata:
    with (paths.spool / file).open("rb") as segment:
        segment.seek(start)
        header = Header.unpack(segment.read(HEADER_SIZE))
        return decode_metadata(segment.read(header.metadata_length), header.metadata_sum)
