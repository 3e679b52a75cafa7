"""The part of `relevo explain` that is about a message in a file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relevo.cli.dkim_files import resolver_of
from relevo.cli.options import EXIT_NO
from relevo.mail import NULL, Address, InvalidAddress, parse_address
from relevo.mail.header_block import field_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.cli.message_explanation import Envelope, MessageExplanation
    from relevo.config import Config

MAX_MESSAGE = 256 * 1024 * 1024

# `from NAME ([ADDRESS])`, and `from NAME (host [ADDRESS])` as other servers write it
_RECEIVED = re.compile(r"from\s+(\S+)\s+\([^()\[\]]*\[(?:IPv6:)?([0-9A-Fa-f.:]+)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EnvelopeOptions:
    """What the command line says of the envelope; "" and None: nothing."""

    client_ip: str
    hello_name: str
    mail_from: str | None


def explain_file(path: str, options: EnvelopeOptions, config: Config, *, as_json: bool) -> None:
    """Print why the message gets its results, and end with the exit code that says whether 250."""
    from relevo.cli.message_explanation import explain_message  # noqa: PLC0415 - imports much

    message = _read(path)
    envelope = _envelope(message, options)
    explanation = asyncio.run(explain_message(message, envelope, config, resolver_of(config)))
    if as_json:
        click.echo(json.dumps(_plain(envelope, explanation), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(envelope, explanation)))
    if not explanation.is_accepted:
        sys.exit(EXIT_NO)


def _read(path: str) -> bytes:
    """The message with the line ends of the wire."""
    if path == "-":
        data = sys.stdin.buffer.read(MAX_MESSAGE + 1)
    else:
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAX_MESSAGE + 1)
        except OSError as error:
            text = f"{path!r} is neither an address nor a file: {error.strerror}"
            raise click.UsageError(text) from error
    if len(data) > MAX_MESSAGE:
        raise click.UsageError(f"the message is larger than {MAX_MESSAGE} octets")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _envelope(message: bytes, options: EnvelopeOptions) -> Envelope:
    from relevo.cli.message_explanation import Envelope  # noqa: PLC0415 - imports much

    head = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    received = field_values(head, "Received")[:1]
    found = _RECEIVED.match(received[0].decode("utf-8", "replace")) if received else None
    path = options.mail_from
    if path is None:
        return_paths = field_values(head, "Return-Path")[:1]
        path = return_paths[0].decode("utf-8", "replace") if return_paths else ""
    return Envelope(
        options.client_ip or (found[2] if found else ""),
        options.hello_name or (found[1] if found else ""),
        _reverse_path(path),
    )


def _reverse_path(text: str) -> Address:
    plain = text.strip().removeprefix("<").removesuffix(">")
    if not plain:
        return NULL
    try:
        return parse_address(plain)
    except InvalidAddress as error:
        raise click.UsageError(f"{text!r} is no reverse-path") from error


def _lines(envelope: Envelope, explanation: MessageExplanation) -> Iterator[str]:
    client = envelope.client_ip or "an unknown address"
    yield f"from {client}, EHLO {envelope.hello_name or '?'}, MAIL FROM {envelope.reverse_path}"
    for section in explanation.sections:
        yield ""
        yield f"{section.name}: {section.result}" if section.result else f"{section.name}:"
        for line in section.lines:
            yield f"  {line}"
    yield ""
    yield "DNS:"
    for question in explanation.questions:
        yield f"  {question}"
    yield ""
    yield explanation.results.replace("\r\n", "\n").rstrip()
    yield ""
    yield f"The server's answer: {explanation.reply}"


def _plain(envelope: Envelope, explanation: MessageExplanation) -> dict[str, object]:
    return {
        "client_ip": envelope.client_ip,
        "helo": envelope.hello_name,
        "mail_from": str(envelope.reverse_path),
        "methods": [dataclasses.asdict(section) for section in explanation.sections],
        "dns": [dataclasses.asdict(question) for question in explanation.questions],
        "authentication_results": explanation.results,
        "reply": explanation.reply,
    }
