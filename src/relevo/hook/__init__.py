"""What authors of hooks in Python import: contexts, verdicts, the message, and two refusals.

    from relevo.hook import Message, PostDataContext, Reject

    async def post_data(message: Message, context: PostDataContext) -> None:
        if b"lottery" in message.body:
            raise Reject("No lotteries, please")

A hook is a function with the name of its stage, `_` for `-`, in a file that a `[[hook]]` with
`form = "python"` names. It may be a coroutine function; one that is not runs in a thread. It gets
the context, at `post_data` the message first, and returns the stage's verdict or None, which is
accept. Any other exception is a failure, and `on_error` says what that means.
"""

from relevo.hook.example import example
from relevo.hook.message import Message
from relevo.hook.refusals import Reject, TempFail
from relevo.hook.settings import BadSettings, Settings, secret, settings
from relevo.hooks.contract.answers import (
    AliasExistsVerdict,
    AliasResolveVerdict,
    AttemptVerdict,
    DsnVerdict,
    HeaderField,
    MailVerdict,
    OutcomeVerdict,
    PostDataVerdict,
    RcptVerdict,
    RouteVerdict,
    SessionVerdict,
)
from relevo.hooks.contract.contexts import (
    AliasContext,
    AttemptContext,
    AuthContext,
    ConnectContext,
    DsnContext,
    EhloContext,
    MailContext,
    PostDataContext,
    RcptContext,
)

__all__ = [
    "AliasContext",
    "AliasExistsVerdict",
    "AliasResolveVerdict",
    "AttemptContext",
    "AttemptVerdict",
    "AuthContext",
    "BadSettings",
    "ConnectContext",
    "DsnContext",
    "DsnVerdict",
    "EhloContext",
    "HeaderField",
    "MailContext",
    "MailVerdict",
    "Message",
    "OutcomeVerdict",
    "PostDataContext",
    "PostDataVerdict",
    "RcptContext",
    "RcptVerdict",
    "Reject",
    "RouteVerdict",
    "SessionVerdict",
    "Settings",
    "TempFail",
    "example",
    "secret",
    "settings",
]
