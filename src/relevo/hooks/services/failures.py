"""The one way in which a call of a service fails."""

from __future__ import annotations


class ServiceFailed(Exception):
    """No answer, or none that can be used; the text says why."""
