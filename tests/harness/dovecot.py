"""A real Dovecot over a folder of its own: authentication sockets and LMTP, Maildir mailboxes.

Tests that use it are marked `needs_debian("dovecot-lmtpd")`. Started by root it runs as nobody, as
it refuses to deliver to root's mailboxes; hence a folder outside of pytest's, which is root's.
"""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.debian import program
from harness.maildir import Mailbox
from harness.processes import TOKEN_NAME, Process, Reaper
from harness.waiting import wait_for

UNPRIVILEGED = "nobody"

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = /dev/stderr
auth_verbose = yes
import_environment = {token}
protocols = lmtp
listen = 127.0.0.1
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{folder}/mail/%d/%n
mail_home = {folder}/mail/%d/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mail_plugins = quota
plugin {{
  quota = maildir:User quota
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service auth {{
  unix_listener auth-chasquid-userdb {{
    mode = 0666
  }}
  unix_listener auth-chasquid-client {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {port}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A user that Dovecot knows; `quota` is what fits into the mailbox, octets (None: anything)."""

    password: str
    quota: int | None = None


class Dovecot:
    """May be stopped and started again over the same mailboxes."""

    def __init__(
        self, reaper: Reaper, folder: Path, log: Path, accounts: Mapping[str, Account]
    ) -> None:
        self.folder = folder
        self.log = log
        self._reaper = reaper
        self._accounts = accounts
        self._process: Process | None = None
        self.port = free_port()

    @property
    def userdb(self) -> Path:
        return self.folder / "run" / "auth-chasquid-userdb"

    @property
    def client(self) -> Path:
        return self.folder / "run" / "auth-chasquid-client"

    @property
    def lmtp(self) -> Path:
        return self.folder / "run" / "lmtp"

    def mailbox(self, address: str) -> Mailbox:
        user, _, domain = address.rpartition("@")
        return Mailbox(self.folder / "mail" / domain / user)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def start(self) -> Dovecot:
        """Start, and wait until it answers."""
        self._write()
        wrapper = []
        if os.geteuid() == 0:
            wrapper = ["setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups"]
            wrapper.append(f"--regid={pwd.getpwnam(UNPRIVILEGED).pw_gid}")
        command = [*wrapper, str(program("dovecot")), "-F", "-c", str(self.folder / "dovecot.conf")]
        self._process = self._reaper.start(command, log=self.log, cwd=self.folder)
        wait_for(self._answers, timeout_s=20, what=f"Dovecot to answer:\n{self.output()}")
        return self

    def stop(self) -> None:
        assert self._process is not None
        self._process.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.is_running(), self.output()
        return all(greets(path) for path in (self.userdb, self.lmtp))

    def _write(self) -> None:
        account = pwd.getpwnam(UNPRIVILEGED if os.geteuid() == 0 else getpass.getuser())
        self.folder.chmod(0o755)
        for name in ("run", "mail"):
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, account.pw_uid, account.pw_gid)
        lines = [passwd_line(name, each) for name, each in self._accounts.items()]
        (self.folder / "users").write_text("".join(lines))
        text = CONFIG.format(
            folder=self.folder,
            token=TOKEN_NAME,
            user=account.pw_name,
            group=grp.getgrgid(account.pw_gid).gr_name,
            uid=account.pw_uid,
            gid=account.pw_gid,
            port=self.port,
        )
        (self.folder / "dovecot.conf").write_text(text)


@contextmanager
def running_dovecot(
    reaper: Reaper, log: Path, accounts: Mapping[str, Account]
) -> Iterator[Dovecot]:
    """A Dovecot that answers, its folder removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="relevo-dovecot-"))
    dovecot = Dovecot(reaper, folder, log, accounts)
    try:
        yield dovecot.start()
    finally:
        dovecot.stop()
        shutil.rmtree(folder)


def passwd_line(name: str, account: Account) -> str:
    """An entry of a passwd-file: user, password, then empty fields up to the extra ones."""
    extra = "" if account.quota is None else f"userdb_quota_rule=*:bytes={account.quota}"
    return f"{name}:{{PLAIN}}{account.password}::::::{extra}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greets(path: Path) -> bool:
    """Does a server say something at this socket?"""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            return bool(probe.recv(1))
        except OSError:
            return False
