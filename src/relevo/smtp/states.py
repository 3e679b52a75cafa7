"""The order of SMTP as data: states, what moves between them, and the table of moves.

Two rules. A move that a state does not list is out of sequence (503), whoever asks. A move changes
the state only when it is accepted: a refused MAIL or RCPT leaves it as it was (RFC 5321 §4.1.4).

A transaction is open in MAIL, RCPT, DATA and BDAT. Once octets of a message were asked for, each
end of it, good or bad, is `Happening.MESSAGE_END` and leads to READY: a failed DATA cannot be
repeated without a new MAIL. STARTTLS leads back to GREETED, where the client's hello is forgotten
(RFC 3207 §4.2), and so does XCLIENT of a listed peer. NOOP, HELP, VRFY, EXPN and QUIT are answered
in every state that reads commands and move nothing; QUIT and every refusal that closes lead to
CLOSED.

`mermaid()` draws the table; docs/reference/smtp-states.md is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class _Member(Enum):
    """Members are single objects: the hash of the object does, and costs a tenth of Enum's own."""

    __hash__ = object.__hash__


class State(_Member):
    """Where a session stands."""

    START = "start"  # connected, greeting not sent
    GREETED = "greeted"  # no hello from the client yet
    READY = "ready"  # hello accepted, no transaction
    MAIL = "mail"  # reverse-path accepted
    RCPT = "rcpt"  # at least one forward-path accepted
    DATA = "data"  # reading the message up to its end mark
    BDAT = "bdat"  # a chunk was begun, the last one has not come
    AUTH = "auth"  # SASL exchange
    TLS = "tls"  # 220 sent, the handshake is the shell's
    CLOSED = "closed"


class Verb(_Member):
    """Commands that the server knows."""

    HELO = "HELO"
    EHLO = "EHLO"
    LHLO = "LHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    AUTH = "AUTH"
    STARTTLS = "STARTTLS"
    XCLIENT = "XCLIENT"
    NOOP = "NOOP"
    HELP = "HELP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    QUIT = "QUIT"


class Happening(_Member):
    """Moves that no command makes."""

    GREETING = "greeting sent"
    MESSAGE_END = "message ended or refused"
    AUTH_END = "exchange ended"
    HANDSHAKE = "handshake done"


Move = Verb | Happening

_HELLO: Final[dict[Move, State]] = {
    Verb.HELO: State.READY,
    Verb.EHLO: State.READY,
    Verb.LHLO: State.READY,
}
_DROP: Final[dict[Move, State]] = {**_HELLO, Verb.RSET: State.READY}
_TRANSACTION: Final[dict[Move, State]] = {**_DROP, Verb.MAIL: State.MAIL, Verb.STARTTLS: State.TLS}

NEXT: Final[Mapping[State, Mapping[Move, State]]] = {
    State.START: {Happening.GREETING: State.GREETED},
    State.GREETED: {
        **_HELLO,
        Verb.RSET: State.GREETED,
        Verb.STARTTLS: State.TLS,
        Verb.XCLIENT: State.GREETED,
    },
    State.READY: {**_TRANSACTION, Verb.AUTH: State.AUTH, Verb.XCLIENT: State.GREETED},
    State.MAIL: {**_TRANSACTION, Verb.RCPT: State.RCPT},
    State.RCPT: {
        **_TRANSACTION,
        Verb.RCPT: State.RCPT,
        Verb.DATA: State.DATA,
        Verb.BDAT: State.BDAT,
        Happening.MESSAGE_END: State.READY,  # DATA or the first BDAT refused
    },
    State.DATA: {Happening.MESSAGE_END: State.READY},
    State.BDAT: {**_DROP, Verb.BDAT: State.BDAT, Happening.MESSAGE_END: State.READY},
    State.AUTH: {Happening.AUTH_END: State.READY},
    State.TLS: {Happening.HANDSHAKE: State.GREETED},
    State.CLOSED: {},
}

IN_TRANSACTION: Final = frozenset({State.MAIL, State.RCPT, State.DATA, State.BDAT})
READS_COMMANDS: Final = frozenset(
    {State.GREETED, State.READY, State.MAIL, State.RCPT, State.BDAT},
)


def mermaid() -> str:
    """The table as the text of a Mermaid state diagram, one arrow a pair of states."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.START.value}"]
    for state, moves in NEXT.items():
        names: dict[State, list[str]] = {}
        for move, target in moves.items():
            names.setdefault(target, []).append(move.value)
        lines += [
            f"    {state.value} --> {target.value}: {', '.join(words)}"
            for target, words in names.items()
        ]
    lines += [f"    {state.value} --> {State.CLOSED.value}: QUIT" for state in _quitting()]
    lines.append(f"    {State.CLOSED.value} --> [*]")
    return "\n".join(lines) + "\n"


def _quitting() -> list[State]:
    return [state for state in State if state in READS_COMMANDS]


def reference_page() -> str:
    """docs/reference/smtp-states.md, whole."""
    return f"""\
# SMTP states of a session

This page is made from the table in `src/relevo/smtp/states.py`
by `reference_page()` there; a test fails when the two differ.

A command that has no arrow from the present state is answered 503 and moves nothing. An arrow is
taken when the command is accepted. `HELO` and `EHLO` belong to SMTP, `LHLO` to LMTP. `NOOP`,
`HELP`, `VRFY` and `EXPN` are answered in every state that takes commands and move nothing.
End of file and every refusal that closes the connection lead to `closed` from anywhere.

```mermaid
{mermaid()}```
"""
