"""Delivery: from queued units to outcomes.

`plan_units` groups final targets into units by route; `make_dispatcher` makes what tries units,
commits outcomes and decides on DSNs. Agents for Maildir, mail delivery agents, pipes and (until
relevo sends mail itself) deferring remote mail stand behind it.
"""

from relevo.delivery.assembly import make_dispatcher
from relevo.delivery.dispatcher import Dispatcher
from relevo.delivery.mailbox_pattern import InvalidPattern, MailboxPattern, parse_pattern
from relevo.delivery.route_rules import RouteTable, route_table
from relevo.delivery.routing import ExpandedTarget, plan_units
from relevo.delivery.scheduler import Sharing

__all__ = [
    "Dispatcher",
    "ExpandedTarget",
    "InvalidPattern",
    "MailboxPattern",
    "RouteTable",
    "Sharing",
    "make_dispatcher",
    "parse_pattern",
    "plan_units",
    "route_table",
]
