"""The mail log: one event, one line.

`chasquid_line` keeps chasquid's formats to the letter, so that what reads its mail log reads
relevo's. `json_line` has every field of the event. `plain_line` is for people at a terminal.
None of them ends its line or puts a time in front (JSON has it inside); none raises for any event.
"""

from __future__ import annotations

import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from relevo.journal.durations import go_duration
from relevo.journal.escape import escape, without_blanks
from relevo.journal.events import (
    Accepted,
    Attempted,
    Authenticated,
    Done,
    DsnSent,
    Event,
    HookVerdict,
    Listening,
    OperatorAction,
    Outcome,
    Quarantined,
    Rejected,
    Released,
    Waiting,
)

_FAILED = {Outcome.TEMPORARY: "temporary", Outcome.PERMANENT: "permanent"}


def chasquid_line(event: Event) -> str | None:
    """The event as chasquid logs it; None for what chasquid never logs."""
    line = _chasquid_text(event)
    return None if line is None else escape(line)


def _chasquid_text(event: Event) -> str | None:
    match event:
        case Accepted():
            if not event.client:  # a DSN of ours: only its attempts are logged
                return None
            return (
                f"{event.message_id} from={without_blanks(event.reverse_path)} queued "
                f"ip={event.client} to={_go_list(event.forward_paths)}"
            )
        case Attempted():
            opening = (
                f"{event.message_id} from={without_blanks(event.reverse_path)} to={event.target}"
            )
            if event.outcome is Outcome.DELIVERED:
                return f"{opening} sent"
            return f"{opening} failed ({_FAILED[event.outcome]}): {event.detail}"
        case Waiting():
            return (
                f"{event.message_id} from={without_blanks(event.reverse_path)} "
                f"completed loop, next in {go_duration(event.next_in)}"
            )
        case Done():
            return f"{event.message_id} from={without_blanks(event.reverse_path)} all done"
        case Rejected():
            sender = (
                "" if event.reverse_path is None else f" from={without_blanks(event.reverse_path)}"
            )
            to = f" to={_go_list(event.forward_paths)}" if event.forward_paths else ""
            return f"{event.client} rejected{sender}{to} - {event.reason}"
        case Authenticated():
            verdict = "succeeded" if event.succeeded else "failed"
            return f"{event.client} auth {verdict} for {without_blanks(event.user)}"
        case Listening():
            return f"daemon listening on {event.address}"
        case DsnSent() | HookVerdict() | OperatorAction() | Quarantined() | Released():
            return None
        case _:
            assert_never(event)


def json_line(event: Event) -> str:
    """The event as a JSON object: `kind`, `time` (ISO 8601, UTC), then its own fields."""
    kind, names = _KINDS[type(event)]
    values: dict[str, object] = {"kind": kind, "time": _iso_time(event.time)}
    for name in names:
        values[name] = getattr(event, name)
    try:
        return msgspec.json.encode(values).decode()
    except UnicodeEncodeError:  # a lone surrogate, from octets that are not UTF-8
        return msgspec.json.encode({k: _encodable(v) for k, v in values.items()}).decode()


def plain_line(event: Event, *, colours: bool = False) -> str:
    """The event for a person at a terminal: time of day, what happened, to whom, why."""
    word, colour, text = _described(event)
    text = escape(text)
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    label = f"{word:<9}"
    if colours:
        label = f"\x1b[{colour}m{label}\x1b[0m"
    return f"{clock}  {label}  {text}"


_GREEN, _YELLOW, _RED, _GREY = "32", "33", "31", "90"


def _described(event: Event) -> tuple[str, str, str]:
    """Label, ANSI colour and text of an event."""
    match event:
        case Accepted():
            source = f" from {event.client}" if event.client else ""
            path = _arrow(event.reverse_path, event.forward_paths)
            return "ACCEPTED", _GREEN, f"{path}  ({event.message_id}, {event.size} octets{source})"
        case Rejected():
            path = _arrow(event.reverse_path, event.forward_paths)
            reply = " ".join(filter(None, (str(event.code), event.enhanced, event.reason)))
            return "REJECTED", _RED, f"{path}  {reply}  (from {event.client})".lstrip()
        case Attempted():
            label, colour = {
                Outcome.DELIVERED: ("DELIVERED", _GREEN),
                Outcome.TEMPORARY: ("DEFERRED", _YELLOW),
                Outcome.PERMANENT: ("FAILED", _RED),
            }[event.outcome]
            why = f"  {event.detail}" if event.detail else ""
            path = _arrow(event.reverse_path, (event.target,))
            over = f"  [{event.tls or 'in clear'}, {event.seconds:.2f} s]" if event.peer else ""
            return label, colour, f"{path}  by {event.route}{why}{over}  ({event.message_id})"
        case Waiting():
            return (
                "WAITING",
                _YELLOW,
                f"{event.message_id}, next try in {go_duration(round(event.next_in))}",
            )
        case Done():
            return "DONE", _GREY, event.message_id
        case DsnSent():
            return (
                "DSN",
                _YELLOW,
                f"{event.dsn_id} tells {without_blanks(event.recipient)} about {event.message_id}",
            )
        case Authenticated():
            user = f"{without_blanks(event.user)}  (from {event.client})"
            return ("LOGIN", _GREEN, user) if event.succeeded else ("NO LOGIN", _RED, user)
        case Listening():
            return "LISTENING", _GREY, f"{event.address}  ({event.mode})"
        case HookVerdict():
            said = "; ".join(filter(None, (event.change, event.reason)))
            version = f" [{event.version}]" if event.version else ""
            text = f"{event.hook}{version} says {event.verdict}" + (f": {said}" if said else "")
            text += f"  ({event.message_id}, {event.seconds * 1000:.1f} ms)"
            if event.stderr:
                text += f"  stderr: {event.stderr}"
            return "HOOK", _GREEN if event.verdict == "accept" else _RED, text
        case Quarantined():
            text = f"{event.message_id}, by {event.by} at {event.stage}: {event.reason}"
            return "QUARANTINED", _YELLOW, text
        case Released():
            what = ", ".join(event.targets) or "nothing is left of it"
            return "RELEASED", _GREEN, f"{event.message_id} → {what}"
        case OperatorAction():
            return "OPERATOR", _GREY, f"{event.action} {event.message_id}"
        case _:
            assert_never(event)


def _arrow(reverse_path: str | None, forward_paths: tuple[str, ...]) -> str:
    sender = "" if reverse_path is None else without_blanks(reverse_path)
    recipients = ", ".join(forward_paths)
    return f"{sender} → {recipients}" if recipients else sender


def _go_list(addresses: tuple[str, ...]) -> str:
    return f"[{' '.join(map(without_blanks, addresses))}]"


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, tuple):
        return tuple(_encodable(item) for item in value)
    return value


def _kind(event_type: type[Event]) -> tuple[str, tuple[str, ...]]:
    names = tuple(field.name for field in fields(event_type) if field.name != "time")
    kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in event_type.__name__)
    return kind.removeprefix("_"), names


_KINDS = {
    event_type: _kind(event_type)
    for event_type in (
        Accepted,
        Attempted,
        Authenticated,
        Done,
        DsnSent,
        HookVerdict,
        Listening,
        OperatorAction,
        Quarantined,
        Rejected,
        Released,
        Waiting,
    )
}
