"""The `users` file of a domain: who exists, and how each proves it.

Protobuf text format, shared with chasquid and chasquid-util, which read what is written here:

    users: { key: "name" value: { scrypt: {
        logN: 14 r: 8 p: 1 keyLen: 32 salt: "…" encrypted: "…" } } }

A name is unique, the last entry of a repeated one counts. An entry without a scheme may receive
mail but never log in, like `denied`, and is how a denied user is written. This module only knows
values; it never hashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from relevo.config.textproto import Bare, Field, Message, Quoted, TextProtoError, parse, quote
from relevo.directory.problems import FileError, FileProblem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_UINT64 = range(2**64)
_INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """RFC 7914 parameters (N is 2**log_n), salt and derived key, unchecked."""

    log_n: int
    r: int
    p: int
    key_length: int
    salt: bytes
    encrypted: bytes


@dataclass(frozen=True, slots=True)
class Plain:
    """The password itself; for tests."""

    password: bytes


@dataclass(frozen=True, slots=True)
class Denied:
    """Never logs in."""


Credential = Scrypt | Plain | Denied


def parse_users(data: bytes, *, path: Path) -> Mapping[str, Credential]:
    """Credentials by user name. Raises FileError."""
    users: dict[str, Credential] = {}
    try:
        for entry in parse(data, str(path)).fields:
            if entry.name != "users":
                _fail(entry, f"unknown field {entry.name!r}; only 'users' is known here")
            for value in entry.values:
                name, credential = _parse_entry(value)
                users[name] = credential
    except TextProtoError as error:
        raise FileError(FileProblem(path, error.line, error.text)) from error
    return MappingProxyType(users)


def format_users(users: Mapping[str, Credential]) -> bytes:
    """The file's content, sorted by name; `parse_users` gives the same mapping back."""
    return "".join(_format_entry(name, users[name]) for name in sorted(users)).encode()


def _parse_entry(value: Bare | Quoted | Message) -> tuple[str, Credential]:
    fields = _singular(_message(value, "users"), ("key", "value"))
    name = ""
    if "key" in fields:
        try:
            name = _octets(fields["key"]).decode("utf-8")
        except UnicodeDecodeError:
            _fail(fields["key"], "the user name is not UTF-8 text")
    if "value" not in fields:
        return name, Denied()
    return name, _parse_credential(_message(*_value_of(fields["value"])))


def _parse_credential(password: Message) -> Credential:
    schemes = _singular(password, ("scrypt", "plain", "denied"))
    if len(schemes) > 1:
        _fail(list(schemes.values())[1], f"a user has one scheme, not {' and '.join(schemes)}")
    for name, scheme in schemes.items():
        content = _message(*_value_of(scheme))
        if name == "scrypt":
            return _parse_scrypt(content)
        if name == "plain":
            fields = _singular(content, ("password",))
            return Plain(_octets(fields["password"]) if fields else b"")
        _singular(content, ())
    return Denied()


def _parse_scrypt(content: Message) -> Scrypt:
    fields = _singular(content, ("logN", "r", "p", "keyLen", "salt", "encrypted"))

    def number(name: str, allowed: range) -> int:
        return _integer(fields[name], allowed) if name in fields else 0

    def octets(name: str) -> bytes:
        return _octets(fields[name]) if name in fields else b""

    return Scrypt(
        log_n=number("logN", _UINT64),
        r=number("r", _INT32),
        p=number("p", _INT32),
        key_length=number("keyLen", _INT32),
        salt=octets("salt"),
        encrypted=octets("encrypted"),
    )


def _singular(message: Message, known: tuple[str, ...]) -> dict[str, Field]:
    """Fields by name, each known, given once and with one value."""
    fields: dict[str, Field] = {}
    for field in message.fields:
        if field.name not in known:
            _fail(field, f"unknown field {field.name!r}")
        if field.name in fields:
            _fail(field, f"{field.name} is given twice")
        if field.is_list:
            _fail(field, f"{field.name} takes one value, not a list")
        fields[field.name] = field
    return fields


def _value_of(field: Field) -> tuple[Bare | Quoted | Message, str]:
    return field.values[0], field.name


def _message(value: Bare | Quoted | Message, name: str) -> Message:
    if not isinstance(value, Message):
        _fail(value, f"{name} takes a group in braces")
    return value


def _octets(field: Field) -> bytes:
    value = field.values[0]
    if not isinstance(value, Quoted):
        _fail(value, f"{field.name} takes a string in quotes")
    return value.data


def _integer(field: Field, allowed: range) -> int:
    value = field.values[0]
    number = value.integer() if isinstance(value, Bare) else None
    if number is None or number not in allowed:
        _fail(value, f"{field.name} takes a whole number of its range")
    return number


def _fail(place: Field | Bare | Quoted | Message, text: str) -> NoReturn:
    raise TextProtoError("", place.line, place.column, text)


def _format_entry(name: str, credential: Credential) -> str:
    return (
        f"users: {{\n  key: {quote(name.encode())}\n  value: {{\n"
        f"{_format_credential(credential)}  }}\n}}\n"
    )


def _format_credential(credential: Credential) -> str:
    match credential:
        case Scrypt():
            fields = {
                "logN": credential.log_n,
                "r": credential.r,
                "p": credential.p,
                "keyLen": credential.key_length,
                "salt": quote(credential.salt),
                "encrypted": quote(credential.encrypted),
            }
            lines = "".join(f"      {key}: {value}\n" for key, value in fields.items())
            return f"    scrypt: {{\n{lines}    }}\n"
        case Plain():
            return f"    plain: {{\n      password: {quote(credential.password)}\n    }}\n"
        case Denied():
            return ""  # says the same as `denied: {}`, and older chasquids read it too
