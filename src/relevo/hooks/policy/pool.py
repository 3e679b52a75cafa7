"""Calls of a policy server: one request and one answer each, over connections that are kept."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING

from relevo.hooks.contract.contexts import MailContext, RcptContext
from relevo.hooks.contract.stages import Stage
from relevo.hooks.policy.actions import MAX_ANSWER, read_answer
from relevo.hooks.policy.attributes import read_context, request
from relevo.hooks.services.pool import Judged, ServicePool
from relevo.hooks.wire import How

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook
    from relevo.config.hook_target import ServiceAddress
    from relevo.hooks.services.connection import Connection
    from relevo.hooks.wire import Report

_MAX_INSTANCES = 10_000


class PolicyPool(ServicePool):
    """The calls of one worker to one server."""

    def __init__(self, declared: DeclaredHook, config: Config, address: ServiceAddress) -> None:
        super().__init__(declared, config, address)
        self._instances: dict[tuple[str, int, str], str] = {}
        self._number = itertools.count()

    async def ask(self, _message: int | bytes, context: bytes, _max_output: int) -> Report:
        asked = read_context(context)
        octets = request(asked, self._instance(asked))

        async def exchange(connection: Connection) -> bytes:
            connection.write(octets)
            answer = await connection.through(b"\n\n", MAX_ANSWER)
            connection.may_be_kept = True
            return answer

        said = read_answer(Stage(asked.stage), await self.connections.converse(exchange))
        return Judged(How.EXITED, errors=said.note.encode(), verdict=said.verdict)

    def _instance(self, asked: MailContext | RcptContext) -> str:
        """One for each transaction: servers put a field before a message once for each."""
        key = (asked.client.ip, asked.client.port, asked.reverse_path)
        is_first = isinstance(asked, MailContext) or not asked.forward_paths
        known = self._instances.pop(key, "")
        if is_first or not known:
            known = f"{os.getpid():x}.{time.time_ns():x}.{next(self._number):x}"
        self._instances[key] = known
        if len(self._instances) > _MAX_INSTANCES:
            del self._instances[next(iter(self._instances))]
        return known
