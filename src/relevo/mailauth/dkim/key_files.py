"""The signing keys of our domains: `domains/<domain>/dkim:<selector>.pem`, read again on change.

A file that cannot be used any more leaves the key that it had in force and is logged once; one that
is gone is a key that is gone.
"""

from __future__ import annotations

import logging
from pathlib import Path

from relevo.config import DomainFolder, find_domains
from relevo.config.layout import DkimKeyFile
from relevo.mail.address import domain_to_ascii
from relevo.mailauth.dkim.private_key import BadPrivateKey, SigningKey, read_private_key
from relevo.value import dataclass

MAX_FILE_SIZE = 64 * 1024

_log = logging.getLogger("relevo.dkim")

_State = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Read:
    state: _State
    key: SigningKey | None  # None: the file was never good


class KeyFiles:
    """The keys by domain; `refresh` looks at the files."""

    def __init__(self, config_dir: Path) -> None:
        self._config_dir = config_dir
        self._read: dict[Path, _Read] = {}
        self._keys: dict[str, tuple[SigningKey, ...]] = {}

    def of(self, domain: str) -> tuple[SigningKey, ...]:
        """The keys of a normalized domain, by selector."""
        return self._keys.get(domain, ())

    @property
    def has_keys(self) -> bool:
        """Whether anything can be signed at all."""
        return bool(self._keys)

    def refresh(self) -> None:
        """Read what has changed. Never raises; may run in a thread, one call at a time."""
        read: dict[Path, _Read] = {}
        keys = {}
        for domain in find_domains(self._config_dir)[0]:
            try:
                files = domain.dkim_keys()
            except OSError as error:
                _log.error("%s: %s", domain.path, error.strerror)
                continue
            for file in files:
                read[file.path] = self._look(domain, file)
            found = [read[file.path].key for file in files]
            usable = tuple(key for key in found if key is not None)
            if usable:
                keys[domain.name] = usable
        self._read, self._keys = read, keys

    def _look(self, domain: DomainFolder, file: DkimKeyFile) -> _Read:
        known = self._read.get(file.path)
        try:
            status = file.path.stat()
        except OSError as error:
            return self._refused(file, known, (0, 0, 0), error.strerror or str(error))
        state = (status.st_mtime_ns, status.st_size, status.st_ino)
        if known is not None and known.state == state:
            return known
        try:
            return _Read(state, read_key_file(domain.name, file))
        except (BadPrivateKey, OSError) as error:
            return self._refused(file, known, state, str(error))

    @staticmethod
    def _refused(file: DkimKeyFile, known: _Read | None, state: _State, why: str) -> _Read:
        if known is not None and known.state == state:
            return known
        kept = known.key if known is not None else None
        after = "; the key that it held signs on" if kept else "; nothing is signed with it"
        _log.error("%s: %s%s", file.path, why, after)
        return _Read(state, kept)


def read_key_file(domain: str, file: DkimKeyFile) -> SigningKey:
    """The key of a file. Raises BadPrivateKey, OSError."""
    if not file.path.is_file():
        raise BadPrivateKey("not a regular file")
    with file.path.open("rb") as stream:
        data = stream.read(MAX_FILE_SIZE + 1)
    if len(data) > MAX_FILE_SIZE:
        raise BadPrivateKey(f"larger than {MAX_FILE_SIZE} octets")
    return SigningKey(domain_to_ascii(domain), file.selector, read_private_key(data))
