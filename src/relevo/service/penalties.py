"""`relevo penalty`, the supervisor's side: what the sources' standings are, and forgiving them."""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import TYPE_CHECKING

from relevo.reception.admission import source_key, source_name
from relevo.reception.networks import is_within
from relevo.reception.penalties import delay_of, rules_of

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.reception import PenaltyTable
    from relevo.reception.penalties import PenaltyRules, Standing

logger = logging.getLogger("relevo.penalties")

LISTED = 1000
"""Sources in an answer at most: the refused ones first, then those with the most points."""

_LEAST_POINTS = 0.5  # with fewer, and not refused, a source is not worth a line


def answer_on_penalties(table: PenaltyTable, config: Config, request: str) -> dict[str, object]:
    """`penalty list`, `penalty clear` (everybody) or `penalty clear ADDRESS`."""
    rules = rules_of(config.penalties)
    match request.split():
        case ["penalty", "list"]:
            return _listed(table, config, rules)
        case ["penalty", "clear"]:
            sources = _worth_telling(table, rules, time.monotonic())
            table.forgive_all(time.monotonic())
            logger.warning("all points cleared, of %d sources", len(sources))
            return {"cleared": len(sources)}
        case ["penalty", "clear", address]:
            return _clear(table, rules, address)
        case _:
            return {"error": f"unknown request {request[:40]!r}"}


def _clear(table: PenaltyTable, rules: PenaltyRules, text: str) -> dict[str, object]:
    try:
        address = ipaddress.ip_address(text.partition("/")[0].partition("%")[0])
    except ValueError:
        return {"error": f"{text[:60]!r} is no IP address"}
    key, now = source_key(str(address)), time.monotonic()
    had_points = table.standing(key, now, rules).score >= _LEAST_POINTS
    table.forgive(key, now)
    logger.warning("%s: points cleared", source_name(key))
    return {"cleared": int(had_points), "source": source_name(key)}


def _listed(table: PenaltyTable, config: Config, rules: PenaltyRules) -> dict[str, object]:
    now = time.monotonic()
    found = _worth_telling(table, rules, now)
    sources = sorted(
        found.items(), key=lambda item: (item[1].is_refused(now), item[1].score), reverse=True
    )
    return {
        "enabled": config.penalties.enabled,
        "delay_from": rules.delay_from,
        "refuse_from": rules.refuse_from,
        "sources": [
            _row(key, standing, now, rules)
            for key, standing in sources[:LISTED]
            if not is_within(source_name(key).partition("/")[0], config.penalties.exempt)
        ],
        "more": max(0, len(sources) - LISTED),
    }


def _worth_telling(table: PenaltyTable, rules: PenaltyRules, now: float) -> dict[int, Standing]:
    return {
        key: standing
        for key, standing in table.standings(now, rules).items()
        if standing.score >= _LEAST_POINTS or standing.is_refused(now)
    }


def _row(key: int, standing: Standing, now: float, rules: PenaltyRules) -> dict[str, object]:
    return {
        "source": source_name(key),
        "points": round(standing.score, 1),
        "delay_seconds": round(delay_of(standing.score, rules), 2),
        "refused_seconds": round(max(0.0, standing.refused_until - now), 1),
        "connections_per_minute": round(standing.connections, 1),
        "commands_per_minute": round(standing.commands, 1),
        "has_users": standing.is_of_users,
    }
