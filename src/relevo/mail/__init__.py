"""What a message and its addresses are made of: addresses, the header block, trace fields, DSNs.

Pure functions over values; no I/O and no configuration.
"""

from relevo.mail.address import (
    NULL,
    Address,
    InvalidAddress,
    InvalidUser,
    domain_to_ascii,
    normalize_domain,
    normalize_local_address,
    normalize_user,
    parse_address,
)
from relevo.mail.dsn import MAX_ATTACHED, compose_dsn
from relevo.mail.dsn_facts import DsnAction, DsnFacts, DsnRecipient
from relevo.mail.header_block import (
    check_header,
    count_received,
    find_head_end,
    head_length,
    split_head,
)
from relevo.mail.submission import complete_submission
from relevo.mail.trace import (
    MT_PRIORITY,
    ReceptionFacts,
    delivered_to_field,
    protocol_name,
    received_field,
    return_path_field,
    rfc5322_date,
)

__all__ = [
    "MAX_ATTACHED",
    "MT_PRIORITY",
    "NULL",
    "Address",
    "DsnAction",
    "DsnFacts",
    "DsnRecipient",
    "InvalidAddress",
    "InvalidUser",
    "ReceptionFacts",
    "check_header",
    "complete_submission",
    "compose_dsn",
    "count_received",
    "delivered_to_field",
    "domain_to_ascii",
    "find_head_end",
    "head_length",
    "normalize_domain",
    "normalize_local_address",
    "normalize_user",
    "parse_address",
    "protocol_name",
    "received_field",
    "return_path_field",
    "rfc5322_date",
    "split_head",
]
