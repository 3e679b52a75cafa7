"""SPF (RFC 7208): whether a client may use a domain in MAIL FROM or EHLO."""

from relevo.mailauth.spf.evaluator import check_host
from relevo.mailauth.spf.result import SpfIdentity, SpfOutcome, SpfResult

__all__ = ["SpfIdentity", "SpfOutcome", "SpfResult", "check_host"]
