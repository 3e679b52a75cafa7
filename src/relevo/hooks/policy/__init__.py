"""Hooks of the form policy: servers of Postfix's policy delegation, asked at mail and rcpt."""

from relevo.hooks.policy.pool import PolicyPool

__all__ = ["PolicyPool"]
