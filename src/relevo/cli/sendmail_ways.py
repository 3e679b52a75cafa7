"""How a message of sendmail gets into the server: into its queue, or over SMTP.

Who may write the queue (root and the user of the server) puts it there, under the queue's own
locks, whether the server runs or not: the message is on stable storage when the program is told so,
and a running server sends it at once. It is expanded through the aliases files and signed; hooks
are not asked. All others speak SMTP with the running server, as any client of this machine does,
and what that one may do is the server's decision (`relay.networks`).
"""

from __future__ import annotations

import asyncio
import os
import smtplib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.cli.running_server import make_queue, wake
from relevo.config.listen_address import parse_listen_address
from relevo.delivery import ExpandedTarget, plan_units, route_table
from relevo.directory import DirectoryWatcher, Existence, ExpansionFailed, MailTarget
from relevo.journal import Accepted
from relevo.mail import Address, InvalidAddress, parse_address, split_head
from relevo.mail.authors import UnclearAuthors, authors
from relevo.mailauth.dkim.key_files import KeyFiles
from relevo.mailauth.dkim.signing import sign_message
from relevo.queue.database import QueuePaths
from relevo.queue.loading import Loader, SavedMessage, SavedUnit
from relevo.queue.store import Envelope, MemoryContent, MessageId

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.directory import Directory, Target

_TIMEOUT_S = 60.0
_SMTP_PORT = 25
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # where all are listened on


class TryLater(Exception):
    """It cannot be taken now; nothing of it was taken."""


class NotTaken(Exception):
    """It will never be taken."""


class NoSuchUser(NotTaken):
    """A recipient of ours does not exist; nobody gets it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready to go; addresses in normal form."""

    id: MessageId
    reverse_path: Address
    recipients: tuple[Address, ...]
    data: bytes  # without trace field
    trace: bytes
    user: str
    now: float
    body: str = ""
    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""

    @property
    def needs_smtputf8(self) -> bool:
        are_ascii = all(one.local.isascii() for one in (self.reverse_path, *self.recipients))
        return not are_ascii or not split_head(self.data)[0].isascii()


def may_write_queue(config: Config) -> bool:
    """May this process put messages into the queue itself?"""
    if os.geteuid() == 0:
        return True
    paths = QueuePaths(config.data_dir)
    return all(os.access(path, os.W_OK) for path in (config.data_dir, paths.database, paths.spool))


def put_into_queue(config: Config, letter: Letter) -> None:
    """On stable storage on return. Raises TryLater, and what opening a queue may raise."""
    directory = DirectoryWatcher(config).current
    expanded = asyncio.run(_expanded(directory, letter))
    units = plan_units(
        expanded,
        is_local=directory.is_local,
        now=letter.now,
        route_of=route_table(config).for_sender(str(letter.reverse_path)),
    )
    signatures = _signatures(config, letter)
    content = MemoryContent(b"".join((letter.trace, signatures, letter.data)))
    envelope = Envelope(
        str(letter.reverse_path), body=letter.body or "8BITMIME", smtputf8=letter.needs_smtputf8,
        ret=letter.ret, envid=letter.envid, auth=letter.user,
    )  # fmt: skip
    accepted = Accepted(
        time=letter.now,
        message_id=letter.id,
        client=f"user:{letter.user}",
        reverse_path=letter.reverse_path.plain,
        forward_paths=tuple(recipient.plain for recipient in letter.recipients),
        size=content.size,
        protocol="local",
        auth=letter.user,
    )
    saved = tuple(SavedUnit(unit.route, unit.due, 0, unit.recipients) for unit in units)
    message = SavedMessage(
        letter.id, letter.now, content.size, envelope, saved, content, (accepted,)
    )
    make_queue(config)
    with Loader(config.data_dir, inline_size=config.queue.inline_size) as loader:
        loader.load([message])
    wake(config.data_dir)


async def _expanded(directory: Directory, letter: Letter) -> list[ExpandedTarget]:
    found: list[ExpandedTarget] = []
    for recipient in letter.recipients:
        address = directory.normalize_recipient(recipient.local, recipient.domain)
        targets: tuple[Target, ...] = (MailTarget(address),)
        if directory.is_local(address.domain):
            if directory.exists_now(address) in {Existence.ABSENT, Existence.INVALID}:
                raise NoSuchUser(f"{address.plain}: there is no such recipient here")
            try:
                targets = await directory.expand(address)
            except ExpansionFailed as error:
                raise TryLater(str(error)) from error
        found += [ExpandedTarget(target, address, letter.notify) for target in targets]
    return found


def _signatures(config: Config, letter: Letter) -> bytes:
    """Of the author's domain, or the sender's, if it is ours."""
    if not config.dkim.sign:
        return b""
    keys = KeyFiles(config.config_dir)
    keys.refresh()
    try:
        found = authors(split_head(letter.data)[0])
    except UnclearAuthors:
        found = ()
    is_author = config.dkim.signing_domain != "envelope" and len(found) == 1
    domain = found[0].domain if is_author else letter.reverse_path.domain
    signing = keys.of(domain)
    return sign_message(letter.data, signing, now=letter.now) if signing else b""


def send_over_smtp(config: Config, letter: Letter) -> None:
    """Hand it to the running server. Raises TryLater, NotTaken."""
    host, port = _listener(config)
    try:
        with smtplib.SMTP(host, port, timeout=_TIMEOUT_S) as client:
            client.ehlo()
            options = [f"BODY={letter.body or '8BITMIME'}"]
            options += ["SMTPUTF8"] if letter.needs_smtputf8 else []
            if client.has_extn("dsn"):
                options += [f"RET={letter.ret}"] if letter.ret else []
                options += [f"ENVID={letter.envid}"] if letter.envid else []
            notify = [f"NOTIFY={','.join(letter.notify)}"] if letter.notify else []
            refused = client.sendmail(
                str(letter.reverse_path),
                [str(recipient) for recipient in letter.recipients],
                letter.data,
                options,
                notify,
            )
    except smtplib.SMTPRecipientsRefused as error:
        raise _of_replies(error.recipients) from error
    except smtplib.SMTPResponseException as error:
        text = f"{error.smtp_code} {_text(error.smtp_error)}"
        raise (NotTaken if error.smtp_code >= 500 else TryLater)(text) from error
    except (OSError, smtplib.SMTPException) as error:
        raise TryLater(f"no server answers at {host}:{port}: {error}") from error
    if refused:
        raise _of_replies(refused)


def _of_replies(refused: dict[str, tuple[int, bytes]]) -> TryLater | NotTaken:
    """Some recipients were refused; the others, if there are any, have been served."""
    lines = [f"{to}: {code} {_text(said)}" for to, (code, said) in refused.items()]
    return NotTaken("; ".join(lines))


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said


def _listener(config: Config) -> tuple[str, int]:
    """Where the server of this machine listens for SMTP; systemd's sockets: the usual port."""
    addresses = (parse_listen_address(text) for text in config.listen.smtp)
    found = next((address for address in addresses if address is not None), None)
    if found is None:
        return "127.0.0.1", _SMTP_PORT
    return _LOOPBACK.get(found.host, found.host), found.port


def parsed_recipients(texts: list[str], domain: str) -> tuple[Address, ...]:
    """In normal form, each once; what has no domain gets this one. Raises InvalidAddress."""
    for text in texts:
        if not text.isprintable():
            raise InvalidAddress(f"{text!r} has a control character")
    return tuple(dict.fromkeys(parse_address(text, domain) for text in texts))
