"""Reader of `chasquid.conf`: protobuf text format, one flat message.

Taken as chasquid takes it: a key that may not repeat must not, a list replaces the whole default,
and an empty or zero scalar means the default, except for `suffix_separators` and
`drop_characters`, where "" counts. Every key has a place in the model; its own name is kept for
messages to the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from relevo.config.convert import BadValue, check_bounds, nearest
from relevo.config.schema import KEYS
from relevo.config.settings import Reading
from relevo.config.textproto import Bare, Field, Quoted, TextProtoError, Value, parse
from relevo.config.units import GO_DURATION_HINT, parse_duration

_MIB = 1024 * 1024
_MAIL_LOGS = {"<syslog>": "syslog", "<stdout>": "stdout", "<stderr>": "stderr"}

_DEFAULT: Final = object()  # the value says: as if the key were not there


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of chasquid: the relevo key it sets, and how its value becomes that key's."""

    target: str
    read: Callable[[Value], Any]
    repeated: bool = False


def read_chasquid_conf(data: bytes, file: str, config_dir: Path) -> Reading:
    """What a `chasquid.conf` with the content `data` says; never raises."""
    reading = Reading(file)
    try:
        message = parse(data, file)
    except TextProtoError as error:
        reading.problem(error.line, "", f"column {error.column}: {error.text}")
        return reading
    seen: dict[str, list[Field]] = {}
    for field in message.fields:
        if field.name not in _KEYS:
            near = nearest(field.name, tuple(_KEYS))
            hint = f"did you mean {near}?" if near else "chasquid has no key of this name"
            reading.problem(field.line, field.name, "there is no such key", hint)
        else:
            seen.setdefault(field.name, []).append(field)
    for name, fields in seen.items():
        if _KEYS[name].repeated:
            _read_list(reading, name, fields)
        else:
            _read_scalar(reading, name, fields, config_dir)
    return reading


def _read_scalar(reading: Reading, name: str, fields: list[Field], config_dir: Path) -> None:
    first = fields[0]
    for again in fields[1:]:
        reading.problem(
            again.line, name, f"the key stands already on line {first.line}", "keep one of them"
        )
    if first.is_list:
        reading.problem(first.line, name, "the key takes one value, not a list")
        return
    key = _KEYS[name]
    target = KEYS[key.target]
    (written,) = first.values
    try:
        value = key.read(written)
        if value is _DEFAULT:
            return
        if key.target == "mail_log.path":
            value = _MAIL_LOGS.get(value) or str(config_dir / value)
        elif key.target == "data_dir":
            value = Path(value)
        check_bounds(target, value)
    except BadValue as error:
        reading.problem(written.line, name, error.text, error.hint)
    else:
        reading.add(target, written.line, lambda: value, name)


def _read_list(reading: Reading, name: str, fields: list[Field]) -> None:
    written = [value for field in fields for value in field.values]
    if not written:  # an empty list says as much as no list
        return
    words = []
    for value in written:
        try:
            words.append(_string(value))
        except BadValue as error:
            reading.problem(value.line, name, error.text, error.hint)
    if len(words) == len(written):
        reading.add(KEYS[_KEYS[name].target], written[0].line, lambda: tuple(words), name)


def _string(value: Value) -> str:
    if not isinstance(value, Quoted):
        raise BadValue(f"{_shown(value)} is not a string", "put it in quotes")
    try:
        text = value.data.decode()
    except UnicodeDecodeError as error:
        raise BadValue("the string is not UTF-8") from error
    if "\0" in text:
        raise BadValue("the string contains NUL")
    return text


def _filled_string(value: Value) -> Any:
    return _string(value) or _DEFAULT


def _boolean(value: Value) -> Any:
    flag = value.boolean() if isinstance(value, Bare) else None
    if flag is None:
        raise BadValue(f"{_shown(value)} is not a boolean", "write true or false, without quotes")
    return flag or _DEFAULT


def _integer(value: Value, least: int, most: int) -> int:
    number = value.integer() if isinstance(value, Bare) else None
    if number is None:
        raise BadValue(f"{_shown(value)} is not an integer", "digits without quotes")
    if not least <= number <= most:
        raise BadValue(f"{number} is out of range", f"{least} to {most}")
    return number


def _megabytes(value: Value) -> Any:
    number = _integer(value, -(2**63), 2**63 - 1)
    return number * _MIB if number > 0 else _DEFAULT


def _queue_items(value: Value) -> Any:
    return _integer(value, 0, 2**32 - 1) or _DEFAULT


def _go_duration(value: Value) -> Any:
    text = _string(value)
    if not text:
        return _DEFAULT
    try:
        duration = parse_duration(text, go_only=True)
    except ValueError as error:
        raise BadValue(str(error), GO_DURATION_HINT) from error
    return duration if duration > timedelta(0) else _DEFAULT


def _shown(value: Value) -> str:
    match value:
        case Quoted(data=data):
            return repr(data.decode("utf-8", "replace"))
        case Bare(text=text):
            return text
        case _:
            return "a message in brackets"


_KEYS = {
    "hostname": _Key("hostname", _filled_string),
    "max_data_size_mb": _Key("smtp.max_message_size", _megabytes),
    "smtp_address": _Key("listen.smtp", _string, repeated=True),
    "submission_address": _Key("listen.submission", _string, repeated=True),
    "submission_over_tls_address": _Key("listen.submission_tls", _string, repeated=True),
    "monitoring_address": _Key("listen.monitoring", _filled_string),
    "mail_delivery_agent_bin": _Key("delivery.mda_command", _filled_string),
    "mail_delivery_agent_args": _Key("delivery.mda_arguments", _string, repeated=True),
    "data_dir": _Key("data_dir", _filled_string),
    "suffix_separators": _Key("addresses.suffix_separators", _string),
    "drop_characters": _Key("addresses.drop_characters", _string),
    "mail_log_path": _Key("mail_log.path", _filled_string),
    "dovecot_auth": _Key("auth.dovecot", _boolean),
    "dovecot_userdb_path": _Key("auth.dovecot_userdb_path", _filled_string),
    "dovecot_client_path": _Key("auth.dovecot_client_path", _filled_string),
    "haproxy_incoming": _Key("listen.haproxy", _boolean),
    "max_queue_items": _Key("queue.max_messages", _queue_items),
    "give_up_send_after": _Key("queue.give_up_after", _go_duration),
}

RELEVO_NAMES = {name: key.target for name, key in _KEYS.items()}
"""The relevo key for each key of chasquid."""
