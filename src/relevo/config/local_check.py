"""What can be checked on this machine alone, beyond the configuration files.

`relevo check` prints it all; a server must not start while there is an error in it. What users
and aliases files say is judged by the directory, which reads them.
"""

from __future__ import annotations

import pwd
import re
import shutil
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from relevo.config.certificates import check_certificates
from relevo.config.dkim_keys import check_dkim_keys
from relevo.config.dovecot_sockets import client_socket, is_socket, userdb_socket
from relevo.config.layout import find_certificates, find_domains
from relevo.config.model import Config
from relevo.config.problems import Problem, Severity
from relevo.dns import BadAnchor, read_anchors

_PLACEHOLDERS = {f"%{end}{part}%" for end in ("from", "to") for part in ("", "_user", "_domain")}
_KNOWN = ", ".join(sorted(_PLACEHOLDERS))


def check_local(config: Config, now: datetime | None = None) -> list[Problem]:
    """Errors and warnings about certificates, domains, keys, the service user, MDA and Dovecot.

    Reads files; asks neither DNS nor any other machine. `now` (with a time zone) is for expiry.
    """
    certificates, problems = find_certificates(config.config_dir)
    domains, domain_problems = find_domains(config.config_dir)
    return [
        *problems,
        *check_certificates(certificates, config.hostname, now or datetime.now(UTC)),
        *domain_problems,
        *(problem for domain in domains for problem in check_dkim_keys(domain)),
        *_user_exists(config),
        *_mda_exists(config),
        *_mda_arguments_are_known(config),
        *_dovecot_is_there(config),
        *_token_is_there(config),
        *_log_can_be_opened(config),
        *_authorities_can_be_read(config),
        *_anchor_can_be_read(config),
        *_relay_domains_make_sense(config, frozenset(domain.name for domain in domains)),
    ]


def _user_exists(config: Config) -> Iterator[Problem]:
    if not config.server.user:
        return
    try:
        pwd.getpwnam(config.server.user)
    except KeyError:
        text = f"there is no user {config.server.user!r} on this machine"
        yield _at_key(config, "server.user", text, Severity.ERROR)


def _authorities_can_be_read(config: Config) -> Iterator[Problem]:
    name = config.outbound_tls.ca_file
    if not name:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
    except OSError as error:  # ssl.SSLError is one
        text = f"{name} holds no certificates that can be read: {error.strerror or error}"
        yield _at_key(config, "outbound_tls.ca_file", text, Severity.ERROR)


def _anchor_can_be_read(config: Config) -> Iterator[Problem]:
    try:
        read_anchors(config.dns.trust_anchor)
    except (BadAnchor, OSError) as error:
        yield _at_key(config, "dns.trust_anchor", str(error), Severity.ERROR)


def _relay_domains_make_sense(config: Config, ours: frozenset[str]) -> Iterator[Problem]:
    for declared in config.relay_domain:
        if declared.domain in ours:
            text = f"{declared.domain} is a domain of ours: mail for it is delivered, not relayed"
            yield _at_key(config, "relay_domain", text, Severity.WARNING)
        if declared.recipients and not Path(declared.recipients).is_file():
            text = (
                f"there is no file {declared.recipients}; recipients of {declared.domain} get 451"
            )
            yield _at_key(config, "relay_domain", text, Severity.ERROR)


def _mda_exists(config: Config) -> Iterator[Problem]:
    if config.delivery.local == "mda" and not shutil.which(config.delivery.mda_command):
        text = f"{config.delivery.mda_command!r} is not a program here; local mail would wait"
        yield _at_key(config, "delivery.mda_command", text, Severity.WARNING)


def _mda_arguments_are_known(config: Config) -> Iterator[Problem]:
    if config.delivery.local == "mda":
        found = re.findall(r"%\w+%", " ".join(config.delivery.mda_arguments))
        for unknown in sorted({*found} - _PLACEHOLDERS):
            text = f"{unknown} is handed over as it stands (replaced are {_KNOWN})"
            yield _at_key(config, "delivery.mda_arguments", text, Severity.WARNING)


def _token_is_there(config: Config) -> Iterator[Problem]:
    """Only that there is a file: whether it can be read is the service user's matter."""
    path = config.monitoring.token_file
    if config.listen.monitoring and path and not Path(path).is_file():
        yield _at_key(config, "monitoring.token_file", f"there is no file {path}", Severity.ERROR)


def _dovecot_is_there(config: Config) -> Iterator[Problem]:
    """Only warnings: Dovecot may start after us, and is looked for at each use."""
    auth = config.auth
    if auth.dovecot:
        until = "until it is there, logins and unknown recipients are put off"
        for name, path in (("userdb", userdb_socket(auth)), ("client", client_socket(auth))):
            key = f"auth.dovecot_{name}_path"
            if path is None:
                text = f"Dovecot's {name} socket is not in /var/run/dovecot; {until}"
                yield _at_key(config, key, text, Severity.WARNING)
            elif not is_socket(path):
                text = f"there is no socket {path}; {until}"
                yield _at_key(config, key, text, Severity.WARNING)
    server = config.delivery.local.removeprefix("lmtp:")
    if server != config.delivery.local and server.startswith("/") and not is_socket(server):
        text = f"there is no socket {server}; until it is there, local mail waits"
        yield _at_key(config, "delivery.local", text, Severity.WARNING)


def _log_can_be_opened(config: Config) -> Iterator[Problem]:
    """The folder only; whether the server's user may write is found out by the server."""
    folder = Path(config.log.file).parent
    if "/" in config.log.file and not folder.is_dir():
        yield _at_key(config, "log.file", f"there is no folder {folder}", Severity.ERROR)


def _at_key(config: Config, name: str, text: str, severity: Severity) -> Problem:
    """A problem of a key, named at the line that set it."""
    file, _, line = config.origins.get(name, "").rpartition(":")
    if line.isdecimal():
        return Problem(file, int(line), name, text, severity=severity)
    return Problem(config.source[0] if config.source else "", 0, name, text, severity=severity)
