"""Which addresses are a user's: those whose mail the user gets.

An address of ours is the user's own when it is the user's name, with or without suffix and drop
characters, or when aliases (of files and hooks, catch-alls too) lead to the user. An address of
others is nobody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.directory.values import ExpansionFailed, MailTarget, Target, UnknownNow
from relevo.mail.address import Address, InvalidAddress

if TYPE_CHECKING:
    from relevo.directory.directory import Directory


def owns_now(directory: Directory, user: Address, address: Address) -> bool | None:
    """Is it the user's, as far as memory knows? None: `owns` must be awaited."""
    asked = _as_ours(directory, address)
    if asked is None:
        return False
    if _is_name_of(directory, user, asked):
        return True
    try:
        targets = directory.expand_now(asked)
    except ExpansionFailed:
        return False
    return None if targets is None else _leads_to(user, targets)


async def owns(directory: Directory, user: Address, address: Address) -> bool | UnknownNow:
    """Is it the user's? UnknownNow: a hook or another server gave no answer."""
    asked = _as_ours(directory, address)
    if asked is None:
        return False
    if _is_name_of(directory, user, asked):
        return True
    try:
        return _leads_to(user, await directory.expand(asked))
    except ExpansionFailed as error:
        return UnknownNow(str(error))


def _as_ours(directory: Directory, address: Address) -> Address | None:
    """In the stored form of our addresses; None: it is not ours."""
    try:
        asked = directory.normalize_recipient(address.local, address.domain)
    except InvalidAddress:
        return None
    return asked if directory.is_local(asked.domain) else None


def _is_name_of(directory: Directory, user: Address, asked: Address) -> bool:
    """The user's name, unless it is more exactly that of another user.

    A user that logs in without a domain has its name in each domain of ours.
    """
    named = Address(user.local, user.domain or asked.domain)
    if asked == named:
        return True
    cleaned = directory.cleaned(asked)
    if cleaned != directory.cleaned(named):
        return False
    return cleaned == named or directory.credential(cleaned) is None


def _leads_to(user: Address, targets: tuple[Target, ...]) -> bool:
    return any(isinstance(target, MailTarget) and target.address == user for target in targets)
