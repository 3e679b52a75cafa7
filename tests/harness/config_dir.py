"""Configuration directories for test servers: relevo's and chasquid's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.certificates import write_certificate
from harness.maildir import Mailbox

HOSTNAME = "mx.test"
NO_NAME_SERVER = "127.0.0.1:1"
"""Nobody answers there: what a test finds never depends on the machine's own resolver."""
Setting = str | int | float | bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class Domain:
    """A local domain: passwords by user (None: may receive, not log in) and its aliases file."""

    users: Mapping[str, str | None] = field(default_factory=dict)
    aliases: str = ""


STANDARD_DOMAINS: Mapping[str, Domain] = {
    "d1.test": Domain({"user": "secret", "juan": "secret2", "rx": None})
}


@dataclass(frozen=True, slots=True)
class ConfigDir:
    """A directory that a server is started with, and where what the server writes ends up."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def mail_log(self) -> Path:
        return self.path / "mail.log"

    @property
    def chain(self) -> Path:
        return self.path / "certs" / HOSTNAME / "fullchain.pem"

    def mailbox(self, address: str) -> Mailbox:
        """The Maildir of an address, which may not exist yet."""
        user, _, domain = address.rpartition("@")
        return Mailbox(self.path / "mail" / domain / user)

    def write_users(self, domain: str, users: Mapping[str, str | None]) -> None:
        """A users file with plain passwords, as both servers read it."""
        folder = self.path / "domains" / domain
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / "users", "".join(map(user_entry, users.keys(), users.values())))

    def write_aliases(self, domain: str, text: str) -> None:
        """An aliases file, replaced at once."""
        replace(self.path / "domains" / domain / "aliases", text)

    def write_settings(self, settings: Mapping[str, Setting]) -> None:
        """relevo.toml from dotted keys."""
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
        replace(self.path / "relevo.toml", "".join(lines))


def standard_settings(path: Path) -> dict[str, Setting]:
    """What test servers run with: ports chosen by the kernel, Maildir delivery, logs in files."""
    return {
        "hostname": HOSTNAME,
        "data_dir": "data",
        "listen.smtp": ["127.0.0.1:0"],
        "listen.submission": ["127.0.0.1:0"],
        "listen.submission_tls": ["127.0.0.1:0"],
        "server.workers": 2,
        "delivery.local": f"maildir:{path}/mail/{{domain}}/{{user}}",
        "mail_log.path": "mail.log",
        "log.level": "debug",
        "reload.interval": "1s",
        "queue.min_free_space": 0.0,
        "dns.servers": [NO_NAME_SERVER],
    }


def user_entry(name: str, password: str | None) -> str:
    """One entry of a users file."""
    quoted = json.dumps(name, ensure_ascii=False)
    if password is None:
        return f"users: {{ key: {quoted} value: {{ denied: {{}} }} }}\n"
    secret = json.dumps(password, ensure_ascii=False)
    return f"users: {{ key: {quoted} value: {{ plain: {{ password: {secret} }} }} }}\n"


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def relevo_config(
    path: Path,
    *,
    domains: Mapping[str, Domain] = STANDARD_DOMAINS,
    settings: Mapping[str, Setting] | None = None,
    certificates: Sequence[str] = (HOSTNAME,),
) -> ConfigDir:
    """A config directory for relevo below `path`; `settings` by dotted keys over the standard."""
    config = ConfigDir(path)
    path.mkdir(parents=True, exist_ok=True)
    (path / "domains").mkdir()
    for name in certificates:
        write_certificate(path / "certs" / name, name)
    for name, domain in domains.items():
        config.write_users(name, domain.users)
        if domain.aliases:
            config.write_aliases(name, domain.aliases)
    config.write_settings({**standard_settings(path), **(settings or {})})
    return config
