"""The metrics under relevo's own names; docs/how-to/monitoring.md lists them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from relevo.hooks.statistics import BOUNDS_MS
from relevo.web.exposition import Family, Kind, Sample, labelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relevo.hooks.statistics import HookFigures
    from relevo.hooks.trials.canary import CanaryState
    from relevo.web.figures import Figures

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


def relevo_families(figures: Figures) -> list[Family]:
    """Everything, always in the same order. Reply codes and routes appear once they are used."""
    return [
        *_server(figures),
        *_sessions(figures),
        *_mail(figures),
        *_queue(figures),
        *_hooks(figures.hooks),
        _canaries(figures.canaries),
        *_processes(figures),
    ]


def _one(name: str, kind: Kind, doc: str, value: float, unit: str = "") -> Family:
    return Family(name, kind, doc, (Sample(value),), unit)


def _server(figures: Figures) -> Iterator[Family]:
    info = Sample(1, (("version", figures.version), ("hostname", figures.hostname)))
    yield Family("relevo_build", Kind.INFO, "Version and name of the server.", (info,))
    yield _one(
        "relevo_start_time_seconds", _GAUGE, "When the server started.", figures.started, "seconds"
    )
    yield _one("relevo_ready", _GAUGE, "1: mail is taken by all workers.", int(figures.is_ready))
    yield Family(
        "relevo_certificate_expiry_timestamp_seconds",
        _GAUGE,
        "End of validity of each certificate.",
        labelled("certificate", figures.certificates),
        "seconds",
    )


def _sessions(figures: Figures) -> Iterator[Family]:
    families = figures.families
    opened = dict(families["connections"])
    refused = opened.pop("refused")
    yield _one("relevo_connections", _GAUGE, "Open SMTP connections.", figures.connections)
    yield Family(
        "relevo_connections_opened",
        _COUNTER,
        "SMTP connections, by listener.",
        labelled("listener", opened),
    )
    yield _one(
        "relevo_connections_refused",
        _COUNTER,
        "Connections over a limit or with penalties, 421.",
        refused,
    )
    yield Family(
        "relevo_tls_handshakes",
        _COUNTER,
        "TLS handshakes of clients, by version.",
        labelled("result", families["handshakes"]),
    )
    yield Family(
        "relevo_commands",
        _COUNTER,
        "SMTP commands, by verb.",
        labelled("command", families["commands"]),
    )
    yield Family(
        "relevo_replies",
        _COUNTER,
        "SMTP replies but the greeting, by code.",
        labelled("code", _used(families["replies"])),
    )
    yield from _penalties(families["penalties"])
    logins = {"success": figures.totals["logins"], "failure": figures.totals["failed_logins"]}
    yield Family("relevo_logins", _COUNTER, "Logins tried.", labelled("result", logins))


def _penalties(counts: Mapping[str, int]) -> Iterator[Family]:
    offences = ("auth", "recipient", "protocol", "connections", "commands")
    yield Family(
        "relevo_penalties_offences",
        _COUNTER,
        "What brought a source points, by kind.",
        labelled("kind", {kind: counts[kind] for kind in offences}),
    )
    yield _one(
        "relevo_penalties_delays", _COUNTER, "Answers and greetings held back.", counts["delayed"]
    )
    yield _one(
        "relevo_penalties_refusals", _COUNTER, "Sources refused for a while.", counts["refusals"]
    )
    yield _one(
        "relevo_penalties_connections_refused",
        _COUNTER,
        "Connections of such sources, answered 421.",
        counts["refused"],
    )


def _mail(figures: Figures) -> Iterator[Family]:
    totals, families = figures.totals, figures.families
    yield _one(
        "relevo_messages_accepted",
        _COUNTER,
        "Messages answered 250, and notifications of our own.",
        totals["accepted"],
    )
    yield Family(
        "relevo_messages_received",
        _COUNTER,
        "Messages of clients answered 250, by how they came.",
        labelled("transport", families["messages"]),
    )
    yield _one("relevo_rejections", _COUNTER, "Refused commands and messages.", totals["rejected"])
    yield _one("relevo_loops", _COUNTER, "Messages refused as looping.", families["loops"]["loops"])
    yield Family(
        "relevo_spf_results", _COUNTER, "Results of SPF.", labelled("result", families["spf"])
    )
    yield Family(
        "relevo_dkim_results",
        _COUNTER,
        "Results of DKIM, one for each signature of mail from outside.",
        labelled("result", families["dkim"]),
    )
    yield Family(
        "relevo_dkim_messages",
        _COUNTER,
        "Messages from outside, by whether one of their signatures is good.",
        labelled("result", families["dkim_messages"]),
    )
    yield Family(
        "relevo_arc_results", _COUNTER, "Chains of ARC.", labelled("result", families["arc"])
    )
    yield Family(
        "relevo_dmarc_results",
        _COUNTER,
        "Results of DMARC.",
        labelled("result", families["dmarc"]),
    )
    yield Family(
        "relevo_dmarc_messages",
        _COUNTER,
        "Messages judged by DMARC, by what followed from it here.",
        labelled("handling", families["dmarc_handling"]),
    )
    yield Family(
        "relevo_signatures",
        _COUNTER,
        "Messages that we signed with DKIM, or sealed with ARC.",
        labelled("kind", families["signing"]),
    )
    yield Family(
        "relevo_security_level_checks",
        _COUNTER,
        "Senders' domains held against the security of their earlier mail.",
        labelled("result", families["levels"]),
    )
    samples = tuple(
        Sample(value, tuple(zip(("route", "outcome"), key.split(" "), strict=True)))
        for key, value in _used(families["attempts"]).items()
    )
    yield Family(
        "relevo_deliveries",
        _COUNTER,
        "Attempts, for each recipient, by route and outcome.",
        samples,
    )
    yield _one("relevo_dsns", _COUNTER, "Delivery status notifications queued.", totals["dsns"])


def _queue(figures: Figures) -> Iterator[Family]:
    counts = figures.queue
    if counts is None:
        return
    age = 0.0 if figures.oldest is None else max(0.0, figures.now - figures.oldest)
    yield _one("relevo_queue_messages", _GAUGE, "Waiting messages.", counts.messages)
    yield _one(
        "relevo_queue_units", _GAUGE, "Waiting deliveries, one a message and route.", counts.units
    )
    yield _one("relevo_queue_units_leased", _GAUGE, "Those being tried now.", counts.leased)
    yield _one(
        "relevo_queue_oldest_age_seconds", _GAUGE, "Age of the oldest message.", age, "seconds"
    )
    kept = counts.quarantined
    since = 0.0 if kept.oldest is None else max(0.0, figures.now - kept.oldest)
    yield _one("relevo_quarantine_messages", _GAUGE, "Messages in quarantine.", kept.messages)
    yield _one(
        "relevo_quarantine_size_bytes", _GAUGE, "Octets of their content.", kept.octets, "bytes"
    )
    yield _one(
        "relevo_quarantine_oldest_age_seconds", _GAUGE, "How long the oldest is there.", since,
        "seconds",
    )  # fmt: skip


def _hooks(hooks: tuple[HookFigures, ...]) -> Iterator[Family]:
    calls = tuple(
        Sample(number, (("hook", hook.name), ("outcome", outcome.value)))
        for hook in hooks
        for outcome, number in hook.outcomes.items()
        if number
    )
    yield Family("relevo_hook_calls", _COUNTER, "Calls of hooks, by outcome.", calls)
    yield Family(
        "relevo_hook_duration_seconds",
        Kind.HISTOGRAM,
        "How long calls of hooks took.",
        tuple(sample for hook in hooks for sample in _histogram(hook)),
        "seconds",
    )


def _canaries(canaries: tuple[CanaryState, ...]) -> Family:
    return Family(
        "relevo_hook_canary_returned",
        _GAUGE,
        "1: the canary failed too often, and its hook is asked about all mail again.",
        tuple(Sample(int(each.is_returned), (("hook", each.name),)) for each in canaries),
    )


def _histogram(hook: HookFigures) -> Iterator[Sample]:
    label = ("hook", hook.name)
    bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
    sums = list(accumulate(hook.buckets))
    for bound, count in zip(bounds, sums, strict=True):
        yield Sample(count, (label, ("le", bound)), "_bucket")
    yield Sample(sums[-1], (label,), "_count")
    yield Sample(hook.total_s, (label,), "_sum")


def _processes(figures: Figures) -> Iterator[Family]:
    workers = figures.workers
    yield _one("relevo_workers", _GAUGE, "Workers that there should be.", len(workers))
    yield _one(
        "relevo_workers_ready",
        _GAUGE,
        "Workers that take connections.",
        sum(worker.is_ready for worker in workers),
    )
    restarts = {str(worker.row): worker.restarts for worker in workers}
    yield Family(
        "relevo_worker_restarts",
        _COUNTER,
        "How often a worker died and was started again.",
        labelled("worker", restarts),
    )
    yield _one(
        "relevo_workers_suspended",
        _GAUGE,
        "Workers whose store failed and takes no mail.",
        sum(worker.is_suspended for worker in workers),
    )
    lags = {str(worker.row): worker.lag_s for worker in workers}
    yield Family(
        "relevo_loop_lag_seconds",
        _GAUGE,
        "How late the last timer of a worker's event loop was.",
        labelled("worker", lags),
        "seconds",
    )
    yield Family(
        "relevo_process_resident_memory_bytes",
        _GAUGE,
        "Resident memory of each process; pages that they share count in each.",
        labelled("process", figures.memory),
        "bytes",
    )


def _used(values: Mapping[str, int]) -> dict[str, int]:
    return {label: value for label, value in values.items() if value}
