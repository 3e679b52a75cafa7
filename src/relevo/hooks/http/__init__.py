"""Hooks of the form http: a POST with the context, and the verdict in the answer (RFC 9112)."""

from relevo.hooks.http.pool import HttpPool

__all__ = ["HttpPool"]
