"""What a policy server is asked: lines `name=value`, and a blank one (SMTPD_POLICY_README).

Pure functions. No value can end its line: controls are left out of them.
"""

from __future__ import annotations

import re

import msgspec

from relevo.hooks.contract.contexts import MailContext, RcptContext
from relevo.hooks.contract.stages import Stage

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_decode_mail = msgspec.json.Decoder(MailContext).decode
_decode_rcpt = msgspec.json.Decoder(RcptContext).decode


class _Which(msgspec.Struct):
    stage: str


_decode_stage = msgspec.json.Decoder(_Which).decode


def read_context(context: bytes) -> MailContext | RcptContext:
    """The context from its JSON form."""
    if _decode_stage(context).stage == Stage.MAIL.value:
        return _decode_mail(context)
    return _decode_rcpt(context)


def request(context: MailContext | RcptContext, instance: str) -> bytes:
    """The whole request. `instance`: the same for all requests about one transaction."""
    is_rcpt = isinstance(context, RcptContext)
    client, tls = context.client, context.tls
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT" if is_rcpt else "MAIL",
        "protocol_name": "ESMTP",
        "client_address": client.ip,
        "client_name": "unknown",
        "client_port": str(client.port),
        "reverse_client_name": "unknown",
        "helo_name": client.hello_name,
        "sender": context.reverse_path.removeprefix("<>"),
        "recipient": context.forward_path if isinstance(context, RcptContext) else "",
        "recipient_count": "0",
        "queue_id": "",
        "instance": instance,
        "size": "0" if isinstance(context, RcptContext) else str(context.size),
        "etrn_domain": "",
        "stress": "",
        "sasl_method": "PLAIN" if context.auth else "",
        "sasl_username": context.auth,
        "sasl_sender": "",
        "ccert_subject": "",
        "ccert_issuer": "",
        "ccert_fingerprint": "",
        "encryption_protocol": tls.version if tls else "",
        "encryption_cipher": tls.cipher if tls else "",
        "encryption_keysize": "0",
        "policy_context": "",
    }
    lines = [f"{name}={_CONTROLS.sub('', value)}\n" for name, value in attributes.items()]
    return "".join([*lines, "\n"]).encode("utf-8", "replace")
