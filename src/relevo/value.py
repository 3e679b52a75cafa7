"""Values that are made for every message: frozen for the type checker, cheap at run time.

`from relevo.value import dataclass` and then `@dataclass(frozen=True, slots=True)` as usual. Type
checkers see the standard decorator and refuse every assignment to a field. At run time the class
is a plain one with the same `__eq__` and `__hash__`, because a frozen one sets each field through
`object.__setattr__`: nine fields took 0.70 µs instead of 0.19, and a message is two dozen values.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool, kw_only: bool = False) -> Any:
        """The standard decorator, the promise of `frozen` kept by the type checker."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen, kw_only=kw_only)


__all__ = ["dataclass"]
