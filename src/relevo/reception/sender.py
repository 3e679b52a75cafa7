"""What is asked about the sender of a message at MAIL: SPF, and its domain's security level.

The name from EHLO is checked beside it, for Authentication-Results alone.

Only `fail` of SPF refuses, so trouble with DNS never does (RFC 7208 §8). The level is held against
mail in clear text only where SPF says `pass`: without it anybody could raise the level of anybody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from relevo.dns.at_once import at_once, both
from relevo.mailauth import SpfOutcome, SpfResult, check_host
from relevo.queue import SecurityLevel
from relevo.queue.store import StoreFailed
from relevo.reception import answers
from relevo.reception.networks import is_within

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.mail import Address
    from relevo.reception.answers import Answer
    from relevo.reception.line import Line
    from relevo.reception.services import Services
    from relevo.reception.transaction import Transaction

logger = logging.getLogger("relevo.reception")

MAX_EXPLANATION = 200  # characters, so that the reply stays one line of 512 octets


class SenderRefused(Exception):
    """The sender is not accepted; the answer for the client."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def is_outside(config: Config, client_ip: str) -> bool:
    """Whether the mail of a client that has not logged in is judged."""
    return not is_within(client_ip, config.spf.skip_networks + config.relay.networks)


def is_to_be_checked(config: Config, reverse_path: Address) -> bool:
    """Whether SPF is asked about a client outside."""
    return config.spf.check and (config.spf.check_helo or not reverse_path.is_null)


Results = tuple[SpfResult, SpfResult | None]


def must_be_asked(services: Services, line: Line, transaction: Transaction) -> bool:
    """Whether `check_sender` must be awaited about a client outside.

    Where memory has all that it would give, and that refuses nothing, the transaction gets it here
    and the client its answer without a task.
    """
    config, reverse_path = services.config, transaction.reverse_path
    if not is_to_be_checked(config, reverse_path):
        return False
    results = at_once(_results(services, line, reverse_path))
    if results is None or (results[0].outcome is SpfOutcome.FAIL and config.spf.reject_fail):
        return True
    has_level = _has_level(config, results[0], reverse_path)
    if has_level and not services.store.is_level_known(reverse_path.domain, _level_of(line)):
        return True
    services.count("spf", results[0].outcome.value)
    services.count("levels", "pass" if has_level else "skip")
    transaction.spf, transaction.helo_spf = results
    return False


async def check_sender(services: Services, line: Line, reverse_path: Address) -> Results:
    """What SPF says of MAIL FROM, and beside it of HELO; for the null one the first is of HELO.

    Raises SenderRefused.
    """
    config = services.config
    results = await _results(services, line, reverse_path)
    result = results[0]
    logger.debug(
        "%s: SPF of %s: %s (%s)", line.client, result.domain, result.outcome.value, result.reason
    )
    services.count("spf", result.outcome.value)
    if result.outcome is SpfOutcome.FAIL and config.spf.reject_fail:
        raise SenderRefused(answers.SPF_FAILED.with_detail(_reason(result)))
    if _has_level(config, result, reverse_path):
        await _check_level(services, line, reverse_path.domain)
    else:
        services.count("levels", "skip")
    return results


async def _results(services: Services, line: Line, reverse_path: Address) -> Results:
    """HELO tells beside MAIL FROM, and refuses nothing (RFC 7208 §2.3)."""
    if reverse_path.is_null or not services.config.spf.check_helo:
        return await _check(services, line, reverse_path.plain), None
    return await both(
        lambda: _check(services, line, reverse_path.plain), lambda: _check(services, line, "")
    )


async def _check(services: Services, line: Line, reverse_path: str) -> SpfResult:
    """Of the name from HELO where the reverse-path is "" or null."""
    config = services.config
    return await check_host(
        line.client_ip,
        reverse_path,
        line.session.hello_name,
        services.resolver,
        receiver=config.hostname,
        with_explanation=config.spf.reject_fail and bool(reverse_path),
        timeout_s=config.spf.timeout.total_seconds(),
    )


def _has_level(config: Config, result: SpfResult, reverse_path: Address) -> bool:
    is_pass = result.outcome is SpfOutcome.PASS
    return is_pass and config.spf.remember_tls and not reverse_path.is_null


def _level_of(line: Line) -> SecurityLevel:
    return SecurityLevel.TLS_CLIENT if line.tls_version else SecurityLevel.PLAIN


def _reason(result: SpfResult) -> str:
    """Why it fails; what the domain says of it is marked as its own words (RFC 7208 §6.2)."""
    if not result.explanation:
        return result.reason
    return f"{result.reason}; {result.domain} says: {result.explanation[:MAX_EXPLANATION]}"


async def _check_level(services: Services, line: Line, domain: str) -> None:
    level = _level_of(line)
    try:
        known = await services.store.raise_incoming_level(domain, level)
    except StoreFailed as error:
        logger.warning("%s: the security level of %s: %s", line.client, domain, error)
        raise SenderRefused(answers.SENDER_UNKNOWN_NOW) from error
    services.count("levels", "fail" if level < known else "pass")
    if level < known:
        raise SenderRefused(answers.LEVEL_TOO_LOW)
