"""Contract v1: the environment of `post-data` and the alias hooks, and what their output means.

Pure functions. The contract is that of the existing scripts: stdin is the message with LF line
ends, exit 0 accepts and stdout is put on top of the message, exit 20 refuses for good and any
other status for now, with the last line of stdout as the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relevo.hooks.contract import Accept, Changes, Client, PostDataContext, Refuse, Verdict
from relevo.hooks.contract.verdicts import DEFAULT_TEXTS, checked_fields, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PERMANENT_STATUS = 20
_INHERITED = ("USER", "SHELL", "PATH")
_NOT_IN_HELLO = re.compile(r"[^A-Za-z0-9.\-\[\]:]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATES = re.compile(r"[\x00-\x20\x7f%]")
_OWN_CODE = re.compile(r"([245])\.\d{1,3}\.\d{1,3} +(?=\S)")


def alias_environment(daemon: Mapping[str, str], directory: str) -> dict[str, str]:
    """USER, SHELL and PATH as the server has them, PWD is the config directory."""
    return {**{name: daemon.get(name, "") for name in _INHERITED}, "PWD": directory}


def post_data_environment(
    context: PostDataContext, daemon: Mapping[str, str], directory: str, raw_hello: str
) -> dict[str, str]:
    """All thirteen variables, empty ones too. Controls never get into one."""
    client = context.client
    variables = {
        **alias_environment(daemon, directory),
        "REMOTE_ADDR": remote_address(client),
        "EHLO_DOMAIN": _NOT_IN_HELLO.sub("", raw_hello),
        "EHLO_DOMAIN_RAW": raw_hello,
        "MAIL_FROM": context.reverse_path,
        "RCPT_TO": " ".join(map(_as_word, context.forward_paths)),
        "AUTH_AS": context.auth,
        "ON_TLS": _flag(context.tls is not None),
        "FROM_LOCAL_DOMAIN": _flag(context.is_from_local_domain or context.reverse_path == "<>"),
        "SPF_PASS": _flag(context.spf_result == "pass" and not context.auth),
    }
    if _CONTROLS.search("".join(variables.values())) is None:
        return variables
    return {name: _CONTROLS.sub("", value) for name, value in variables.items()}


def remote_address(client: Client) -> str:
    """`ip:port`, `[ip]:port` for IPv6."""
    return f"[{client.ip}]:{client.port}" if ":" in client.ip else f"{client.ip}:{client.port}"


def post_data_verdict(status: int, output: bytes) -> Verdict:
    """What a `post-data` that ended by itself says. Raises InvalidVerdict: exit 0, bad headers."""
    if status == 0:
        return Accept(Changes(add=checked_fields(output))) if output else Accept()
    return refusal(output, is_permanent=status == PERMANENT_STATUS)


def refusal(output: bytes, *, is_permanent: bool) -> Refuse:
    """The last line of the output that is not blank, as a reply."""
    kind = 5 if is_permanent else 4
    text = clean_text(last_line(output)) or DEFAULT_TEXTS[kind]
    enhanced = f"{kind}.7.1"
    own = _OWN_CODE.match(text)
    if own is not None and int(own[1]) == kind:
        enhanced, text = own[0].strip(), text[own.end() :]
    return Refuse(554 if is_permanent else 451, enhanced, text)


def last_line(output: bytes) -> str:
    """The last line that is not blank, whether or not its end is there; "" if there is none."""
    lines = output.replace(b"\0", b"").rstrip().rsplit(b"\n", 1)
    return lines[-1].decode("utf-8", "replace").strip()


def alias_text(output: bytes) -> str:
    """The output of `alias-resolve` as one right-hand side: a line end separates like a comma.

    The words of a pipe may stand on several lines. Raises UnicodeDecodeError.
    """
    text = output.decode("utf-8").strip()
    return text if text.startswith("|") else ",".join(text.splitlines())


def lf_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A message with LF line ends and no CR, whatever its pieces are cut at; LF at its end."""
    last = b""
    for piece in pieces:
        converted = piece.replace(b"\r", b"")
        if converted:
            last = converted[-1:]
            yield converted
    if last and last != b"\n":
        yield b"\n"


def _as_word(address: str) -> str:
    """An address without blanks and controls, so that it cannot be taken for two."""
    if not _SEPARATES.search(address) or not re.search(r"[\x00-\x20\x7f]", address):
        return address
    return _SEPARATES.sub(lambda match: f"%{ord(match[0]):02X}", address)


def _flag(is_set: bool) -> str:
    return "1" if is_set else "0"
