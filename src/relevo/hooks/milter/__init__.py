"""Hooks of the form milter: mail filters of sendmail's protocol, version 6, asked at post-data.

`packets`, `steps`, `macros` and `conversation` are the protocol without I/O; `header_edits` is what
a filter makes of the header; `pool` has the connections. A filter is told the whole session, from
the client's address on, when the message is complete.
"""

from relevo.hooks.milter.pool import MilterPool

__all__ = ["MilterPool"]
