"""What hooks are told and what they answer: stages, contexts and verdicts, as values.

The JSON form of both, its schema and the reference page are made from these values. Nothing here
runs anything.
"""

from relevo.hooks.contract.contexts import (
    AliasContext,
    Client,
    DkimSignature,
    PostDataContext,
    Recipient,
    StageContext,
    Tls,
)
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import (
    NO_CHANGES,
    Accept,
    Changes,
    Discard,
    InvalidVerdict,
    OnError,
    Refuse,
    Verdict,
)

__all__ = [
    "NO_CHANGES",
    "Accept",
    "AliasContext",
    "Changes",
    "Client",
    "Discard",
    "DkimSignature",
    "InvalidVerdict",
    "OnError",
    "PostDataContext",
    "Recipient",
    "Refuse",
    "Stage",
    "StageContext",
    "Tls",
    "Verdict",
]
