"""What the verdicts of each stage mean, for the reference page."""

from __future__ import annotations

from relevo.hooks.contract.stages import Stage

NOTES = {
    Stage.CONNECT: (
        "A refusal takes the place of the greeting, and the connection is closed. "
        "`client.hello_name` is empty."
    ),
    Stage.EHLO: "Tags of an earlier EHLO are forgotten.",
    Stage.AUTH: "With a refusal the login has failed, and is counted as failed.",
    Stage.MAIL: (
        '`sender` replaces the reverse-path, `""` by the null one. SPF was asked '
        "about the reverse-path as it came."
    ),
    Stage.RCPT: (
        "`redirect` are addresses that the forward-path stands for, instead of its aliases; "
        "they are resolved like any other when the message is taken. The hook may only refuse "
        "or redirect what we accept: it cannot open a relay, and a user that does not exist "
        "stays unknown."
    ),
    Stage.POST_DATA: (
        "With `accept`, `body` (text) or `body_b64` (octets) takes the place of all that "
        "follows the header's blank line; it must fit `hooks.output_limit`. Header fields are "
        "removed, then replaced (the first of the name; it is added if there is none), then "
        "added on top. `redirect` takes the place of all recipients. `remove_recipients` are "
        "forward-paths or their targets; when none is left, the message is accepted and goes "
        "nowhere. `add_recipients` are resolved like any other. `sender` replaces the "
        'reverse-path, `""` by the null one. `discard` answers the client 250, and nothing is '
        "queued; the history keeps why. All of it happens together with the message being queued, "
        "exactly once, or not at all."
    ),
    Stage.ALIAS_EXISTS: "An empty verdict: it does not exist.",
    Stage.ALIAS_RESOLVE: "Each target as in an aliases file; pipes and `via` are not allowed.",
    Stage.ROUTE: (
        "`route` is `mx:DOMAIN` or `via:SERVER,SERVER` and holds for this attempt only. "
        "`tempfail` tries the recipients again later, `reject` gives them up."
    ),
    Stage.BEFORE_ATTEMPT: (
        "`tempfail` tries the recipients again later, `reject` gives them up; `text` stands in "
        "the mail log and in the notification for the sender."
    ),
    Stage.DELIVERED: (
        "Nothing can be changed any more, and a hook that fails changes nothing either. It is told "
        "after the outcome was committed, once; if the server dies in between, not at all. Tags "
        "given from route on stand in the why record and are not kept with the message."
    ),
    Stage.DEFERRED: "As delivered. `next_in` says when they are tried again.",
    Stage.FAILED: "As delivered.",
    Stage.DSN: (
        "With `drop` the sender is not told; the history says so. A hook that fails drops nothing."
    ),
}
"""What stands below the examples of a stage on the reference page."""
