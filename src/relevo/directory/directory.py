"""INTERFACE SKETCH, to be implemented."""

from __future__ import annotations

from relevo.directory.values import Existence, Target, UnknownNow
from relevo.mail.address import Address


class Directory:
    """Domains, users and aliases of one config directory, read-only and replaced whole on change."""

    domains: frozenset[str]  # normalized, "localhost" included

    def is_local(self, domain: str) -> bool: ...

    # the *_now forms answer from memory, without awaiting; None: ask the awaitable form
    # (a hook must be run). The awaitable form gives the same answer when *_now is not None.
    def exists_now(self, address: Address) -> Existence | UnknownNow | None: ...
    async def exists(self, address: Address) -> Existence | UnknownNow: ...

    def expand_now(self, address: Address) -> tuple[Target, ...] | None:
        """Final targets of an accepted forward-path, duplicates collapsed. Raises ExpansionFailed."""
    async def expand(self, address: Address) -> tuple[Target, ...]: ...

    def normalize_recipient(self, local: str, domain: str) -> Address:
        """Forward-path → stored form: local domains fully, remote ones domain only (spec/smtp.md §8).

        Raises InvalidUser or InvalidDomain.
        """
    def postmaster(self) -> Address | None: ...
