"""Mail authentication: SPF, DKIM, ARC, DMARC, and the fields that tell others what was found.

Functions over values; whatever needs DNS gets its look-ups passed in.
"""

from relevo.mailauth.authentication_results import (
    MethodResult,
    arc_method_result,
    authentication_results_field,
    dkim_method_results,
    dmarc_method_result,
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
    "arc_method_result",
    "authentication_results_field",
    "check_host",
    "dkim_method_results",
    "dmarc_method_result",
    "received_spf_field",
    "remove_forged_results",
    "spf_method_result",
]
