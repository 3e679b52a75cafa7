"""Alias hooks for the time of one mail transaction: each is asked about an address once at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.directory.resolution import AliasHookFailed, AliasHooks

if TYPE_CHECKING:
    from relevo.directory.values import Target
    from relevo.mail.address import Address


class AskedOnce:
    """Hooks whose answers, failures included, stay what they are until the transaction ends."""

    def __init__(self, hooks: AliasHooks) -> None:
        self._hooks = hooks
        self._targets: dict[Address, tuple[Target, ...] | AliasHookFailed] = {}
        self._known: dict[Address, bool | AliasHookFailed | None] = {}

    def resolve_now(self, address: Address) -> tuple[Target, ...] | None:
        """As `AliasHooks` says."""
        kept = self._targets.get(address)
        if kept is None:
            return self._hooks.resolve_now(address)
        return None if isinstance(kept, AliasHookFailed) else kept

    async def resolve(self, address: Address) -> tuple[Target, ...]:
        """As `AliasHooks` says."""
        kept = self._targets.get(address)
        if kept is None:
            try:
                kept = await self._hooks.resolve(address)
            except AliasHookFailed as error:
                kept = error
            self._targets[address] = kept
        if isinstance(kept, AliasHookFailed):
            raise kept
        return kept

    async def exists(self, address: Address) -> bool | None:
        """As `AliasHooks` says."""
        if address not in self._known:
            try:
                self._known[address] = await self._hooks.exists(address)
            except AliasHookFailed as error:
                self._known[address] = error
        kept = self._known[address]
        if isinstance(kept, AliasHookFailed):
            raise kept
        return kept
