"""The pools of declared hooks that are services, by the form of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.config.hook_target import service_address
from relevo.hooks.http import HttpPool
from relevo.hooks.milter import MilterPool
from relevo.hooks.policy import PolicyPool
from relevo.hooks.settings import FIRST_DECLARED_POOL

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.hooks.services import ServicePool

_POOLS: dict[str, type[HttpPool | MilterPool | PolicyPool]] = {
    "http": HttpPool,
    "milter": MilterPool,
    "policy": PolicyPool,
}


def service_pools(config: Config) -> dict[int, ServicePool]:
    """By the number of the pool."""
    return {
        FIRST_DECLARED_POOL + number: _POOLS[declared.form](
            declared, config, service_address(declared.form, declared.target)
        )
        for number, declared in enumerate(config.hook)
        if declared.is_service
    }
