"""What a hook of post-data is told of a message, from what a transaction knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from relevo.directory import MailTarget, PipeTarget, Target, ViaTarget
from relevo.hooks.contract import Client, DkimSignature, PostDataContext, Recipient, Tls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.delivery import ExpandedTarget
    from relevo.directory import Directory
    from relevo.reception.acceptance import Arrival
    from relevo.reception.transaction import Transaction


def context_of(
    transaction: Transaction,
    arrival: Arrival,
    expansion: Iterable[ExpandedTarget],
    directory: Directory,
    size: int,
) -> PostDataContext:
    """`size` is that of the message as it will be stored, in octets."""
    reverse_path, findings = transaction.reverse_path, transaction.findings
    tls = Tls(arrival.tls_version, arrival.tls_cipher) if arrival.tls_version else None
    return PostDataContext(
        message_id=arrival.message_id,
        client=Client.of(arrival.client, arrival.hello_name),
        tls=tls,
        auth=arrival.identity,
        reverse_path=reverse_path.plain,
        forward_paths=transaction.forward_paths,
        recipients=recipients_of(expansion),
        spf_result=transaction.spf.outcome.value if transaction.spf else "none",
        signatures=tuple(
            DkimSignature(result.outcome.value, result.domain, result.selector)
            for result in (findings.dkim if findings and findings.dkim else ())
        ),
        arc_result=findings.arc.outcome.value if findings else "none",
        dmarc_result=findings.dmarc.outcome.value if findings and findings.dmarc else "none",
        author_domain=findings.dmarc.author_domain if findings and findings.dmarc else "",
        is_from_local_domain=reverse_path.is_null or directory.is_local(reverse_path.domain),
        is_smtputf8=transaction.parameters.smtputf8,
        tags=transaction.hook_tags,
        size=size,
    )


def recipients_of(expansion: Iterable[ExpandedTarget]) -> tuple[Recipient, ...]:
    """Where the message will go."""
    return tuple(_recipient(expanded.target, expanded.original.plain) for expanded in expansion)


def _recipient(target: Target, original: str) -> Recipient:
    match target:
        case MailTarget(address):
            return Recipient(address.plain, "mail", original)
        case ViaTarget(address):
            return Recipient(address.plain, "via", original)
        case PipeTarget(words):
            return Recipient(" ".join(words), "pipe", original)
        case _:
            assert_never(target)
