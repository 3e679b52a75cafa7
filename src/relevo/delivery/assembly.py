"""The dispatcher as a configuration wants it."""

from __future__ import annotations

import os
import time
from math import inf
from typing import TYPE_CHECKING

from relevo.delivery.bounce import Surroundings
from relevo.delivery.commands import CommandRunner
from relevo.delivery.discard import DiscardAgent
from relevo.delivery.dispatcher import Dispatcher, Policy
from relevo.delivery.lanes import DispatchLimits
from relevo.delivery.lmtp import LmtpAgent, parse_server
from relevo.delivery.mailbox_pattern import InvalidPattern, parse_pattern
from relevo.delivery.maildir import MaildirAgent
from relevo.delivery.mda import MdaAgent
from relevo.delivery.notice_limits import NoticeLimits
from relevo.delivery.pipe import PipeAgent
from relevo.delivery.route_rules import route_table
from relevo.delivery.routing import LOCAL, PIPE
from relevo.delivery.scheduler import ALONE, Sharing
from relevo.queue.schedule import RetrySteps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relevo.config import Config
    from relevo.delivery.attempt import Agent
    from relevo.delivery.dispatcher import Release
    from relevo.delivery.unit_hooks import UnitHooks
    from relevo.directory import Directory, Existence, Target, UnknownNow
    from relevo.journal import Event
    from relevo.mail import Address
    from relevo.queue.store import Store


def no_remote_agents(_config: Config) -> Mapping[str, Agent]:
    """Mail to other servers waits."""
    return {}


def no_hooks() -> UnitHooks | None:
    """Nobody is asked about attempts."""
    return None


def make_dispatcher(
    config: Config,
    *,
    store: Store,
    directory: Callable[[], Directory],
    journal: Callable[[Event], None],
    remote: Callable[[Config], Mapping[str, Agent]] = no_remote_agents,
    hooks: Callable[[], UnitHooks | None] = no_hooks,
    sharing: Sharing = ALONE,
    release: Release | None = None,
    clock: Callable[[], float] = time.time,
) -> Dispatcher:
    """The dispatcher of a worker. Raises InvalidPattern.

    `directory` gives the current picture at each call; `journal` gets each event after it has been
    committed (the mail log); `remote` makes the agents for other servers, by kind of route;
    `hooks` says for each configuration whom to ask about attempts, None: nobody; `sharing` which
    worker serves which route; `release` what becomes of a message that leaves the quarantine.
    Nothing is opened or started before the first delivery.
    """
    maker = _PolicyMaker(directory, remote, hooks)
    at_once = config.outbound.max_connections
    return Dispatcher(
        store,
        maker.make(config),
        remake=maker.make,
        journal=journal,
        clock=clock,
        limits=DispatchLimits(paced_at_once=at_once, paced_held=4 * at_once),
        sharing=sharing,
        release=release,
    )


class _PolicyMaker:
    """Makes the policy of a configuration; agents whose part of it is unchanged are kept."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        remote: Callable[[Config], Mapping[str, Agent]] = no_remote_agents,
        hooks: Callable[[], UnitHooks | None] = no_hooks,
    ) -> None:
        self._hooks = hooks
        self._directory = directory
        self._remote = remote
        self._made_from: object = None
        self._agents: Mapping[str, Agent] = {}
        self._limits_made_from: object = None
        self._limits = NoticeLimits(0)

    def make(self, config: Config) -> Policy:
        made_from = (config.delivery, config.hostname, config.config_dir)
        if made_from != self._made_from:
            self._agents = self._make_agents(config)
            self._made_from = made_from
        give_up_after = config.queue.give_up_after.total_seconds()
        around = Surroundings(
            hostname=config.hostname,
            is_local=lambda domain: self._directory().is_local(domain),
            expand=self._expand,
            postmaster=lambda: self._directory().postmaster(),
            route_of=route_table(config).for_sender(""),
            is_local_smtp=config.delivery.local.startswith("lmtp:"),
            limits=self._limits_of(config),
            gives_up=lambda created: created + give_up_after,
        )
        agents = {**self._agents, **self._remote(config)}
        return Policy(
            agents,
            around,
            give_up_after,
            RetrySteps.parse(config.queue.retry).next_try,
            self._hooks(),
            config.queue.delay_notice.total_seconds() or inf,
        )

    def _limits_of(self, config: Config) -> NoticeLimits:
        """What was counted is kept while the limit stays."""
        made_from = (config.queue.notices_per_minute, config.server.workers)
        if made_from != self._limits_made_from:
            self._limits = NoticeLimits(made_from[0], made_from[1] or os.cpu_count() or 1)
            self._limits_made_from = made_from
        return self._limits

    def _make_agents(self, config: Config) -> Mapping[str, Agent]:
        delivery = config.delivery
        runner = CommandRunner(
            config.config_dir,
            timeout_s=delivery.command_timeout.total_seconds(),
            limit=delivery.max_commands,
        )
        return {LOCAL: self._make_local(config, runner), PIPE: PipeAgent(runner)}

    def _make_local(self, config: Config, runner: CommandRunner) -> Agent:
        delivery = config.delivery
        kind, _, place = delivery.local.partition(":")
        match kind:
            case "maildir":
                return MaildirAgent(parse_pattern(place), config.hostname, self._is_user)
            case "lmtp":
                return LmtpAgent(parse_server(place), config.hostname, delivery.lmtp_connections)
            case "mda":
                return MdaAgent(delivery.mda_command, delivery.mda_arguments, runner)
            case "discard":
                return DiscardAgent()
            case _:
                raise InvalidPattern(
                    f"delivery.local is {delivery.local!r}: "
                    "expected maildir:PATTERN, lmtp:SERVER, mda or discard"
                )

    async def _expand(self, address: Address) -> tuple[Target, ...]:
        return await self._directory().expand(address)

    async def _is_user(self, address: Address) -> Existence | UnknownNow:
        """Is the final address a user? (Aliases have been followed before.)"""
        return await self._directory().is_user(address)
