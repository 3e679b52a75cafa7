"""An example context and verdict of each stage, for the reference page."""

from __future__ import annotations

from typing import Any

from relevo.hooks.contract import answers, contexts
from relevo.hooks.contract.stages import Stage

_CLIENT = contexts.Client("192.0.2.7", 40123, "mail.example.net")
_UNGREETED = contexts.Client("192.0.2.7", 40123, "")
_TLS = contexts.Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
_ID = "1m87q8pm1861mpmt1csg"
_TRIED = contexts.TriedRecipient("joe@example.com", "mail", "info@example.org")
_FAILED = contexts.TriedRecipient(
    "joe@example.com", "mail", "info@example.org", "5.1.1", "550 5.1.1 No such user"
)


def _attempt(stage: Stage, recipient: contexts.TriedRecipient) -> contexts.AttemptContext:
    return contexts.AttemptContext(
        stage=stage.value,
        message_id=_ID,
        reverse_path="ann@example.net",
        route="mx:example.com",
        recipients=(recipient,),
        attempts=1,
        age=912.5,
        size=2048,
        tags=("list",),
    )


EXAMPLES: dict[Stage, tuple[Any, Any]] = {
    Stage.CONNECT: (
        contexts.ConnectContext(client=_UNGREETED, listener="SMTP"),
        answers.SessionVerdict("reject", text="Your address is on our list"),
    ),
    Stage.EHLO: (
        contexts.EhloContext(client=_CLIENT, listener="SMTP", verb="EHLO", tags=("listed",)),
        answers.SessionVerdict("tempfail", text="Come again in a minute"),
    ),
    Stage.AUTH: (
        contexts.AuthContext(
            client=_CLIENT, listener="submission", user="joe@example.org", tls=_TLS
        ),
        answers.SessionVerdict("reject", text="Not from this network"),
    ),
    Stage.MAIL: (
        contexts.MailContext(
            client=_CLIENT,
            listener="SMTP",
            tls=_TLS,
            reverse_path="ann@example.net",
            spf_result="pass",
            size=2048,
        ),
        answers.MailVerdict(sender="list-bounces@example.org", tags=["list"]),
    ),
    Stage.RCPT: (
        contexts.RcptContext(
            client=_CLIENT,
            listener="SMTP",
            tls=_TLS,
            reverse_path="ann@example.net",
            forward_path="info@example.org",
            is_local=True,
            spf_result="pass",
            tags=("list",),
        ),
        answers.RcptVerdict(redirect=["joe@example.org", "kim@example.org"]),
    ),
    Stage.POST_DATA: (
        contexts.PostDataContext(
            message_id=_ID,
            client=_CLIENT,
            tls=_TLS,
            reverse_path="ann@example.net",
            forward_paths=("info@example.org",),
            recipients=(contexts.Recipient("joe@example.org", "mail", "info@example.org"),),
            spf_result="pass",
            signatures=(contexts.DkimSignature("pass", "example.net", "s1"),),
            size=2048,
            tags=("list",),
        ),
        answers.PostDataVerdict(
            add_headers=[answers.HeaderField("X-Spam-Score", "1.2")],
            remove_headers=["X-Spam-Flag"],
            replace_headers=[answers.HeaderField("Subject", "[list] hello")],
            add_recipients=["archive@example.org"],
            remove_recipients=["joe@example.org"],
            sender="list-bounces@example.org",
            tags=["checked"],
        ),
    ),
    Stage.ALIAS_RESOLVE: (
        contexts.AliasContext(stage="alias-resolve", address="info@example.org"),
        answers.AliasResolveVerdict(["a@example.org", "b"]),
    ),
    Stage.ALIAS_EXISTS: (
        contexts.AliasContext(stage="alias-exists", address="info@example.org"),
        answers.AliasExistsVerdict(exists=True),
    ),
    Stage.ROUTE: (
        _attempt(Stage.ROUTE, _TRIED),
        answers.RouteVerdict(route="via:relay.example.org"),
    ),
    Stage.BEFORE_ATTEMPT: (
        _attempt(Stage.BEFORE_ATTEMPT, _TRIED),
        answers.AttemptVerdict("tempfail", text="Not before eight o'clock"),
    ),
    Stage.DELIVERED: (_attempt(Stage.DELIVERED, _TRIED), answers.OutcomeVerdict()),
    Stage.DEFERRED: (_attempt(Stage.DEFERRED, _TRIED), answers.OutcomeVerdict()),
    Stage.FAILED: (_attempt(Stage.FAILED, _FAILED), answers.OutcomeVerdict()),
    Stage.DSN: (
        contexts.DsnContext(
            message_id=_ID,
            dsn_id="1m87q8pm1861mpmt1dtk",
            recipient="ann@example.net",
            about=(_FAILED,),
            tags=("list",),
        ),
        answers.DsnVerdict("drop", text="it was spam"),
    ),
}
