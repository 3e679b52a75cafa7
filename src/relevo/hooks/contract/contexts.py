"""What a hook is told: one frozen value a stage."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from relevo.hooks.contract.stages import Stage


@dataclass(frozen=True, slots=True)
class Client:
    """The peer of the connection.

    A hello name that is not UTF-8 has U+FFFD for what is not, and its octets in `hello_name_b64`.
    """

    ip: str
    port: int
    hello_name: str
    hello_name_b64: str = ""

    @classmethod
    def of(cls, address: str, hello_name: str) -> Client:
        """From `ip:port` or `[ip]:port` and a name decoded with surrogateescape."""
        ip, _, port = address.rpartition(":")
        octets = hello_name.encode("utf-8", "surrogateescape")
        shown = octets.decode("utf-8", "replace")
        encoded = "" if shown == hello_name else base64.b64encode(octets).decode()
        return cls(ip.strip("[]"), int(port or 0), shown, encoded)


@dataclass(frozen=True, slots=True)
class Tls:
    """The encryption of the connection."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message will go, after alias expansion."""

    target: str  # an address, or the words of a pipe
    kind: str  # "mail", "pipe" or "via"
    original: str  # the forward-path it came from, as accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class PostDataContext:
    """A message that is complete and not yet queued.

    Addresses are in plain form, the null reverse-path is `<>`. `size` counts the octets of the
    message as it will be stored (CRLF line ends), our trace fields included.
    """

    stage: str = Stage.POST_DATA.value
    message_id: str
    attempt: int = 1
    client: Client
    tls: Tls | None = None
    auth: str = ""  # user@domain, "" without AUTH
    reverse_path: str
    forward_paths: tuple[str, ...]
    recipients: tuple[Recipient, ...] = ()
    spf_result: str = "none"
    is_from_local_domain: bool = False
    is_smtputf8: bool = False
    tags: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasContext:
    """An address of ours that is looked up; for alias-resolve and alias-exists."""

    stage: str
    address: str
