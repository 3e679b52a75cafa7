"""Where a hook stands that is not a program of ours but a service: its `target`, as a value.

`python` may name an installed module instead of a file.

Forms and their targets: `http` a URL; `milter` and `policy` `unix:PATH`, `inet:HOST:PORT` or
`HOST:PORT`, with an IPv6 address in brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from relevo.hooks.contract import Stage

PROGRAM_FORMS = ("exec", "worker", "python")
SERVICE_FORMS = ("http", "milter", "policy")

STAGES_OF = {
    "milter": frozenset({Stage.POST_DATA}),
    "policy": frozenset({Stage.MAIL, Stage.RCPT}),
}
"""Of forms whose protocol does not know all stages."""

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_HOST_PORT = re.compile(r"(?:inet:)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_MAX_PORT = 65535
_PATH = re.compile(r"/[!-~]*")


def is_module(form: str, target: str) -> bool:
    """Whether the target of a hook in Python is the name of an installed module, and no file."""
    return form == "python" and not target.endswith(".py") and bool(_MODULE.fullmatch(target))


class BadTarget(ValueError):
    """A target that names no service; the text says what to write."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """A socket of the file system, or a host and port; `resource` is the path of a URL."""

    path: str = ""
    host: str = ""
    port: int = 0
    is_tls: bool = False
    resource: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{host}:{self.port}"


def service_address(form: str, target: str) -> ServiceAddress:
    """The address of a form's target. Raises BadTarget."""
    if form == "http":
        return _url(target)
    if target.startswith("unix:/"):
        return ServiceAddress(path=target.removeprefix("unix:"))
    match = _HOST_PORT.fullmatch(target)
    if match is None or not 0 < int(match[2]) <= _MAX_PORT:
        raise BadTarget("write unix:/PATH or HOST:PORT")
    return ServiceAddress(host=match[1].strip("[]"), port=int(match[2]))


def _url(target: str) -> ServiceAddress:
    hint = "write http://HOST:PORT/PATH or https://HOST/PATH"
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as error:
        raise BadTarget(hint) from error
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.username is not None
        or parts.fragment
        or not parts.hostname.isascii()
        or not _PATH.fullmatch(resource)
    ):
        raise BadTarget(hint)
    is_tls = parts.scheme == "https"
    return ServiceAddress(
        host=parts.hostname, port=port or (443 if is_tls else 80), is_tls=is_tls, resource=resource
    )
