"""What a message and its addresses are made of: addresses, the header block, trace fields, DSNs.

Pure functions over values; no I/O and no configuration.
"""

from relevo.mail.address import (
    NULL,
    Address,
    InvalidAddress,
    domain_to_ascii,
    normalize_domain,
    normalize_local_address,
    parse_address,
)
from relevo.mail.header_block import check_header, count_received, find_head_end, split_head
from relevo.mail.trace import ReceptionFacts, protocol_name, received_field

__all__ = [
    "NULL",
    "Address",
    "InvalidAddress",
    "ReceptionFacts",
    "check_header",
    "count_received",
    "domain_to_ascii",
    "find_head_end",
    "normalize_domain",
    "normalize_local_address",
    "parse_address",
    "protocol_name",
    "received_field",
    "split_head",
]
