"""What a failure report on a message would tell, put together where the message was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.mail import domain_to_ascii
from relevo.mailauth import (
    authentication_results_field,
    dkim_method_results,
    dmarc_method_result,
    spf_method_result,
)
from relevo.mailauth.dmarc.failed import FailedMessage, shown_fields, wants_report

if TYPE_CHECKING:
    from relevo.reception.acceptance import Arrival
    from relevo.reception.findings import Findings
    from relevo.reception.transaction import Transaction


def failure_of(
    findings: Findings, transaction: Transaction, arrival: Arrival, head: bytes
) -> FailedMessage | None:
    """The facts of a report; None: nobody wants one, or it would be about a report or a bounce."""
    result, spf, dkim = findings.dmarc, transaction.spf, findings.dkim or ()
    if result is None or transaction.reverse_path.is_null:
        return None
    if not wants_report(result, spf, dkim, head):
        return None
    results = [] if spf is None else [spf_method_result(spf)]
    results += dkim_method_results(dkim)
    results.append(dmarc_method_result(result, findings.handling, findings.forwarder))
    field = authentication_results_field(arrival.authserv_id, results)
    return FailedMessage(
        author_domain=result.author_domain,
        policy_domain=result.policy_domain,
        time=arrival.time,
        source_ip=arrival.client_ip,
        sender_domain=domain_to_ascii(transaction.reverse_path.domain),
        handling=findings.handling,
        has_aligned_spf=bool(result.spf_domain),
        has_aligned_dkim=bool(result.dkim_domains),
        signatures=tuple(one for one in dkim if one.domain),
        spf=spf,
        results=" ".join(field.partition(b":")[2].decode("utf-8").split()),
        fields=shown_fields(head),
    )
