"""Mail authentication: SPF, and the fields that tell receivers of a message what was found.

Functions over values; whatever needs DNS gets its look-ups passed in.
"""

from relevo.mailauth.authentication_results import (
    MethodResult,
    authentication_results_field,
    remove_forged_results,
    spf_method_result,
)
from relevo.mailauth.received_spf import received_spf_field
from relevo.mailauth.spf import SpfIdentity, SpfOutcome, SpfResult, check_host

__all__ = [
    "MethodResult",
    "SpfIdentity",
    "SpfOutcome",
    "SpfResult",
    "authentication_results_field",
    "check_host",
    "received_spf_field",
    "remove_forged_results",
    "spf_method_result",
]
