"""Lines to paste into a shell that send a first mail, with a program that this machine has."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

SENDER = "you@example.org"

_TEXT = r"Subject: first mail\r\n\r\nHello.\r\n"  # as printf and Python write it


@dataclass(frozen=True, slots=True)
class Login:
    """A user, and where to log in by TLS."""

    address: str  # host:port
    user: str
    password: str


def send_line(
    address: str, recipient: str, *, which: Callable[[str], str | None] = shutil.which
) -> str:
    """Mail from outside to `recipient`: plain SMTP to `host:port`, without a login."""
    if which("swaks"):
        return _shell(
            "swaks", server=address, from_=SENDER, to=recipient, header="Subject: first mail"
        )
    if which("curl"):
        return f"printf '{_TEXT}' | " + _curl(f"smtp://{address}", SENDER, recipient)
    return _python("SMTP", address, "", SENDER, recipient)


def submit_line(
    login: Login, recipient: str, *, which: Callable[[str], str | None] = shutil.which
) -> str:
    """Mail as the user: TLS from the start; the certificate is not verified."""
    if which("curl"):
        credentials = shlex.quote(f"{login.user}:{login.password}")
        options = f"--insecure --user {credentials}"
        line = _curl(f"smtps://{login.address}", login.user, recipient, options)
        return f"printf '{_TEXT}' | {line}"
    log_in = f"s.login({json.dumps(login.user)}, {json.dumps(login.password)}); "
    return _python("SMTP_SSL", login.address, log_in, login.user, recipient)


def _shell(program: str, **options: str) -> str:
    words = [program]
    for name, value in options.items():
        words += [f"--{name.strip('_')}", value]
    return shlex.join(words)


def _curl(url: str, sender: str, recipient: str, options: str = "") -> str:
    words = ("curl --silent --show-error", options, f"--mail-from {shlex.quote(sender)}")
    paths = f"--mail-rcpt {shlex.quote(recipient)} --upload-file - {url}"
    return " ".join(filter(None, (*words, paths)))


def _python(kind: str, address: str, log_in: str, sender: str, recipient: str) -> str:
    host, _, port = address.rpartition(":")
    code = (
        f'import smtplib; s = smtplib.{kind}("{host}", {port}); {log_in}'
        f's.sendmail({json.dumps(sender)}, [{json.dumps(recipient)}], "{_TEXT}"); s.quit()'
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
