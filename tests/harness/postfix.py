"""A whole Postfix of a test: its own folders, one SMTP port on loopback, mail into Maildirs.

Needs root, as Postfix itself does, and the package installed (its programs look for each other
below /usr): tests that use it are marked `needs_debian("postfix-server")`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.authority import Certificate
from harness.debian import program
from harness.mail_sink import free_port
from harness.processes import Process, Reaper
from harness.server import Address
from harness.waiting import wait_for

DAEMONS = Path("/usr/lib/postfix/sbin")  # where Debian's has them
_SERVICES = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running one. `mail` has a folder for each domain, with a Maildir for each user."""

    address: Address
    mail: Path
    log: Path
    process: Process

    def messages(self, domain: str, user: str) -> list[bytes]:
        """What was delivered to a mailbox."""
        new = self.mail / domain / user / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.exists() else []


@contextmanager
def running_postfix(
    reaper: Reaper,
    folder: Path,
    addresses: Sequence[str],
    certificate: Certificate,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Postfix]:
    """Postfix that takes mail for these addresses, offering STARTTLS with the certificate.

    `folder` is for what it prints.
    """
    # not below pytest's folder, which is closed to the users that Postfix becomes
    place = Path(tempfile.mkdtemp(prefix="relevo-postfix-"))
    try:
        address = Address(host, port)
        running = _start(reaper, folder, place, addresses, certificate, address, settings or {})
        try:
            yield running
        finally:
            running.process.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _start(
    reaper: Reaper,
    folder: Path,
    place: Path,
    addresses: Sequence[str],
    certificate: Certificate,
    address: Address,
    settings: Mapping[str, str],
) -> Postfix:
    place.chmod(0o755)
    for name in ("config", "queue", "data", "mail"):
        (place / name).mkdir()
    shutil.chown(place / "data", "postfix")
    (place / "mail").chmod(0o777)
    host, port = address.host, address.port or free_port(address.host)
    chain = certificate.write(place / "tls")
    split = (each.rpartition("@") for each in addresses)
    boxes = ", ".join(f"{{ {user}@{domain} = {domain}/{user}/ }}" for user, _, domain in split)
    values = {
        "compatibility_level": "3.6",
        "queue_directory": str(place / "queue"),
        "data_directory": str(place / "data"),
        "command_directory": "/usr/sbin",
        "daemon_directory": str(DAEMONS),
        "maillog_file": str(place / "mail.log"),
        "maillog_file_prefixes": str(place),
        "myhostname": "postfix.test",
        "inet_interfaces": host,
        "inet_protocols": "ipv4",
        "mydestination": "",
        "local_recipient_maps": "",
        "alias_maps": "",
        "alias_database": "",
        "mynetworks": "127.0.0.0/8",
        "virtual_mailbox_domains": ", ".join({each.rpartition("@")[2] for each in addresses}),
        "virtual_mailbox_base": str(place / "mail"),
        "virtual_mailbox_maps": f"inline:{{ {boxes} }}",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        "virtual_minimum_uid": "1",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": f"{place}/tls/privkey.pem, {chain}",
        "smtputf8_enable": "yes",
        "message_size_limit": "20000000",
        **settings,
    }
    config = place / "config"
    (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    (config / "master.cf").write_text(_SERVICES.format(port=port))
    check = subprocess.run(
        ["postfix", "-c", str(config), "check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    process = reaper.start(
        [program("master"), "-c", config, "-d"],
        log=folder / "postfix-master.log",
        env={"MAIL_CONFIG": str(config)},
    )
    running = Postfix(Address(host, port), place / "mail", place / "mail.log", process)
    wait_for(lambda: not process.is_running() or _answers(running), what="Postfix's greeting")
    assert process.is_running(), running.log.read_text()
    return running


def _answers(running: Postfix) -> bool:
    try:
        with socket.create_connection((running.address.host, running.address.port), 1) as client:
            return client.recv(100).startswith(b"220")
    except OSError:
        return False
