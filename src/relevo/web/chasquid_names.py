"""The metrics under the names that dashboards made for chasquid ask for.

Labelled ones show only labels that were seen. What chasquid counts and this server does not do
(MTA-STS) stands there as 0, so that no query breaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.hooks.statistics import HookOutcome
from relevo.web.exposition import Family, Kind, Sample, labelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.web.figures import Figures

_HTTP = ("GET", "POST", "CONNECT")
_POST_DATA = {
    HookOutcome.ACCEPTED: "post-data:success",
    HookOutcome.BAD_OUTPUT: "post-data:badoutput",
    HookOutcome.REJECTED: "post-data:fail",
    HookOutcome.TEMPFAILED: "post-data:fail",
    HookOutcome.FAILED: "post-data:fail",
}
_ALIASES = {
    HookOutcome.FOUND: "resolve:success",
    HookOutcome.NOT_FOUND: "resolve:skip",
    HookOutcome.BAD_OUTPUT: "resolve:parse_err",
    HookOutcome.FAILED: "resolve:fail",
}
_RECIPIENT_TYPES = {"pipe": "pipe", "via": "forward", "mx": "email:remote"}
_NOT_DONE_HERE = {
    "chasquid_smtpIn_dkimVerifyErrors": "count of DKIM verify errors",
    "chasquid_sts_cache_fetches": "count of policy fetches",
    "chasquid_sts_cache_hits": "count of policy cache hits",
    "chasquid_sts_cache_expired": "count of policies found expired",
    "chasquid_sts_cache_failedFetch": "count of failed policy fetches",
    "chasquid_sts_cache_invalid": "count of invalid policies in the cache",
    "chasquid_sts_cache_ioErrors": "count of errors reading and writing the cache",
    "chasquid_sts_cache_marshalErrors": "count of errors writing a policy",
    "chasquid_sts_cache_unmarshalErrors": "count of errors reading a policy",
    "chasquid_sts_cache_refreshCycles": "count of rounds of policy refreshes",
    "chasquid_sts_cache_refreshes": "count of refreshed policies",
    "chasquid_sts_cache_refreshErrors": "count of errors refreshing policies",
}
_LABELLED_NOT_DONE_HERE = {
    "chasquid_smtpOut_tlsCount": "count of TLS status of outgoing connections",
    "chasquid_smtpOut_securityLevelChecks": "count of security level checks of next hops",
    "chasquid_smtpOut_sts_mode": "count of MTA-STS policies used, by mode",
    "chasquid_smtpOut_sts_security": "count of MTA-STS checks, by result",
}


def chasquid_families(figures: Figures) -> list[Family]:
    """The whole table, in the order of names."""
    totals, families = figures.totals, figures.families
    commands, verified = families["commands"], families["dkim_messages"]
    written = totals["accepted"]
    found = [
        _map("smtpIn_commandCount", "count of commands", "command", commands),
        _map("smtpIn_responseCodeCount", "count of reply codes", "code", families["replies"]),
        _map("smtpIn_spfResultCount", "count of SPF results", "result", families["spf"]),
        _one("smtpIn_dkimSigned", "count of messages we signed", families["signing"]["signed"]),
        _one("smtpIn_dkimSignErrors", "count of those we could not", families["signing"]["failed"]),
        _one(
            "smtpIn_dkimVerifyFound",
            "count of messages with signatures",
            verified["valid"] + verified["invalid"],
        ),
        _one("smtpIn_dkimVerifyNotFound", "count of unsigned messages", verified["unsigned"]),
        _one("smtpIn_dkimVerifyValid", "count of well signed messages", verified["valid"]),
        _one("smtpIn_loopsDetected", "count of looping messages", families["loops"]["loops"]),
        _map("smtpIn_tlsCount", "count of messages by TLS", "status", families["messages"]),
        _map("smtpIn_securityLevelChecks", "count of checks", "result", families["levels"]),
        _map("smtpIn_hookResults", "count of post-data results", "result", _post_data(figures)),
        _map(
            "smtpIn_wrongProtoCount",
            "count of commands of other protocols",
            "command",
            {verb: commands[verb] for verb in _HTTP},
        ),
        _map("aliases_hookResults", "count of alias hook results", "result", _aliases(figures)),
        _one("queue_putCount", "count of messages put into the queue", written),
        _one("queue_itemsWritten", "count of items written to disk", written),
        _one("queue_dsnQueued", "count of DSNs queued", totals["dsns"]),
        _map(
            "queue_deliverAttempts",
            "count of attempts, by recipient type",
            "recipient_type",
            _by_recipient_type(families["attempts"]),
        ),
        _one("sourceDateTimestamp", "when this release was built, unknown here: 0", 0),
        *(Family(name, Kind.COUNTER, doc, (Sample(0),)) for name, doc in _NOT_DONE_HERE.items()),
        *(Family(name, Kind.COUNTER, doc, ()) for name, doc in _LABELLED_NOT_DONE_HERE.items()),
    ]
    return sorted(found, key=lambda family: family.name)


def _one(name: str, doc: str, value: int) -> Family:
    return Family(f"chasquid_{name}", Kind.COUNTER, doc, (Sample(value),))


def _map(name: str, doc: str, label: str, values: Mapping[str, int]) -> Family:
    seen = {key: value for key, value in values.items() if value}
    return Family(f"chasquid_{name}", Kind.COUNTER, doc, labelled(label, seen))


def _post_data(figures: Figures) -> dict[str, int]:
    results = _results(figures, "post-data", _POST_DATA)
    received = sum(figures.families["messages"].values())
    asked = results.get("post-data:success", 0) + results.get("post-data:badoutput", 0)
    return {**results, "post-data:skip": max(0, received - asked)}


def _aliases(figures: Figures) -> dict[str, int]:
    return _results(figures, "alias-resolve", _ALIASES)


def _results(figures: Figures, program: str, names: Mapping[HookOutcome, str]) -> dict[str, int]:
    """Outcomes of the program of chasquid's name, under chasquid's words."""
    results: dict[str, int] = {}
    for hook in figures.hooks:
        if hook.name.rpartition("/")[2] == program:
            for outcome, number in hook.outcomes.items():
                if outcome in names:
                    results[names[outcome]] = results.get(names[outcome], 0) + number
    return results


def _by_recipient_type(attempts: Mapping[str, int]) -> dict[str, int]:
    types: dict[str, int] = {}
    for key, number in attempts.items():
        kind = _RECIPIENT_TYPES.get(key.partition(" ")[0], "email:local")
        types[kind] = types.get(kind, 0) + number
    return types
