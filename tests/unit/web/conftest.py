"""One moment of a server, made up."""

from __future__ import annotations

import pytest

from relevo.hooks.statistics import BOUNDS_MS, HookFigures, HookOutcome
from relevo.queue import Counts
from relevo.web import Figures, WorkerFigures

NOW = 1_800_000_000.0
PENALTIES = {
    **dict.fromkeys(("auth", "recipient", "protocol", "connections", "commands"), 0),
    **dict.fromkeys(("delayed", "refusals", "refused", "other"), 0),
}


@pytest.fixture
def figures() -> Figures:
    buckets = [0] * (len(BOUNDS_MS) + 1)
    buckets[0], buckets[-1] = 2, 1
    hook = HookFigures(
        "hooks/post-data", {HookOutcome.ACCEPTED: 2, HookOutcome.REJECTED: 1}, 6.5, 6.0, buckets
    )
    return Figures(
        version="1.2.3",
        hostname="mx.test",
        data_dir="/data",
        started=NOW - 3700,
        now=NOW,
        totals={"accepted": 5, "rejected": 2, "dsns": 1, "logins": 3, "failed_logins": 4},
        families={
            "commands": {"MAIL": 7, "GET": 1, "POST": 0, "CONNECT": 0, "unknown": 0},
            "replies": {"250": 9, "251": 0, "other": 0},
            "connections": {"SMTP": 3, "submission": 1, "submission+TLS": 0, "refused": 2},
            "attempts": {
                "maildir delivered": 3,
                "mx temporary": 2,
                "via permanent": 1,
                "pipe delivered": 1,
                "mda delivered": 0,
            },
            "messages": {"tls": 4, "plain": 0},
            "handshakes": {"TLS-1.2": 1, "TLS-1.3": 2, "failed": 1, "other": 0},
            "spf": {"pass": 2, "fail": 0},
            "dkim": {"pass": 3, "fail": 0},
            "dkim_messages": {"unsigned": 4, "valid": 2, "invalid": 1},
            "arc": {"none": 0, "pass": 1, "fail": 0},
            "dmarc": {"none": 0, "pass": 1, "fail": 0},
            "dmarc_handling": {"none": 1, "quarantine": 0, "reject": 0},
            "signing": {"signed": 5, "failed": 1, "sealed": 2},
            "levels": {"skip": 1, "pass": 2, "fail": 0},
            "loops": {"loops": 1},
            "penalties": PENALTIES | {"auth": 3, "refusals": 1},
        },
        workers=(
            WorkerFigures(0, 100, True, 0, False, 0.001),
            WorkerFigures(1, 101, True, 2, False, 0.002),
        ),
        connections=4,
        listeners={"smtp": ("127.0.0.1:25",), "submission": ("[::1]:587",)},
        hooks=(hook,),
        queue=Counts(6, 8, 1, 50, NOW + 60),
        oldest=NOW - 90,
        certificates={"mx.test": NOW + 30 * 86400, "old.test": NOW - 5},
        memory={"worker 0": 30_000_000},
    )
