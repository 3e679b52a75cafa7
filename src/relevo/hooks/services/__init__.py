"""Hooks that are services: connections to them, and what holds for the calls of each form.

A service is hostile input like a program: its answers are bounded and parsed strictly, a call has
one deadline for everything, and calls of a worker have a number of places. The forms are in
`relevo.hooks.http`, `relevo.hooks.milter` and `relevo.hooks.policy`.
"""

from relevo.hooks.services.connection import Connection
from relevo.hooks.services.connections import Connections
from relevo.hooks.services.failures import ServiceFailed
from relevo.hooks.services.pool import Judged, ServicePool

__all__ = ["Connection", "Connections", "Judged", "ServiceFailed", "ServicePool"]
