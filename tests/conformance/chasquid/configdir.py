"""Makes the chasquid config directory that both servers are started on, unchanged.

The common setup of the page: hostname mx.test, domain d1.test, users user (password secret), juan
and rx (receive only), and an MDA that records its arguments and its input.
"""

from __future__ import annotations

import shlex
import socket
from dataclasses import dataclass, field
from pathlib import Path

from harness.certificates import write_certificate
from harness.waiting import WaitedInVain, wait_for

DOMAIN = "d1.test"
USERS = {
    "user": 'plain: { password: "secret" }',
    "juan": 'plain: { password: "hidden" }',
    "rx": "",  # no scheme: may receive, can never log in
}
MDA_ARGUMENTS = ("%to%", "%from%", "x%to_user%y", "%from_user%", "%from_domain%", "%to_domain%")

# A recipient may have an instruction file, which the MDA sources after it has recorded the call.
# The record is renamed into place when complete, so that a reader never sees half of one.
MDA_SCRIPT = """\
#!/bin/sh
record=$(mktemp -d {records}/.XXXXXXXXXX) || exit 75
for argument in "$@"; do printf '%s\\0' "$argument"; done > "$record/argv"
cat > "$record/stdin"
mv "$record" {records}/"$(basename "$record" | tr -d .)"
if [ -f {orders}/"$1" ]; then . {orders}/"$1"; fi
exit 0
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of the MDA."""

    arguments: tuple[str, ...]
    message: bytes

    @property
    def recipient(self) -> str:
        return self.arguments[0]

    @property
    def content(self) -> bytes:
        """With CRLF line ends, whatever the MDA was given: chasquid 1.11 hands over LF."""
        return self.message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Domain:
    """What stands in one folder of domains/."""

    aliases: str | bytes = ""
    users: dict[str, str] = field(default_factory=lambda: dict(USERS))


def free_address() -> tuple[str, int]:
    """A loopback address nobody listens on now; an unchanged chasquid.conf cannot say port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1", int(probe.getsockname()[1])


def users_file(users: dict[str, str]) -> str:
    return "".join(
        f'users: {{ key: "{name}" value: {{ {scheme} }} }}\n' for name, scheme in users.items()
    )


class ConfigDir:
    """A config directory below `root`, with the records of its MDA beside it."""

    def __init__(
        self,
        root: Path,
        *,
        domains: dict[str, Domain] | None = None,
        extra: str = "",
        keys: dict[str, str | None] | None = None,
        listen: dict[str, tuple[str, int]] | None = None,
    ) -> None:
        """`keys` replace keys of the standard chasquid.conf (None drops one); `extra` is appended.

        `listen` names addresses already taken, by listener, instead of free ones.
        """
        self.path = root / "config"
        self.data_dir = root / "data"
        self.mail_log = root / "mail.log"
        self.records = root / "records"
        self.orders = root / "orders"
        taken = listen or {}
        self.smtp = taken.get("smtp") or free_address()
        self.submission = taken.get("submission") or free_address()
        self.submission_tls = taken.get("submission_tls") or free_address()
        for folder in (self.path, self.data_dir, self.records, self.orders):
            folder.mkdir(parents=True)
        self._write_mda(root / "mda")
        self.add_certificate("mx.test")
        for name, domain in (domains or {DOMAIN: Domain()}).items():
            self.write_domain(name, domain)
        lines = self._standard_keys(root / "mda") | (keys or {})
        text = "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None)
        self.write_conf(text + extra)

    def _standard_keys(self, mda: Path) -> dict[str, str | None]:
        def quoted(address: tuple[str, int]) -> str:
            return f'"{address[0]}:{address[1]}"'

        return {
            "hostname": '"mx.test"',
            "max_data_size_mb": "1",
            "smtp_address": quoted(self.smtp),
            "submission_address": quoted(self.submission),
            "submission_over_tls_address": quoted(self.submission_tls),
            "mail_delivery_agent_bin": f'"{mda}"',
            "mail_delivery_agent_args": "[" + ", ".join(f'"{a}"' for a in MDA_ARGUMENTS) + "]",
            "data_dir": f'"{self.data_dir}"',
            "mail_log_path": f'"{self.mail_log}"',
        }

    def _write_mda(self, path: Path) -> None:
        path.write_text(
            MDA_SCRIPT.format(
                records=shlex.quote(str(self.records)), orders=shlex.quote(str(self.orders))
            )
        )
        path.chmod(0o755)

    # writing

    def write_conf(self, text: str) -> None:
        (self.path / "chasquid.conf").write_text(text)

    def write_domain(self, name: str, domain: Domain) -> None:
        folder = self.path / "domains" / name
        folder.mkdir(parents=True)
        (folder / "users").write_text(users_file(domain.users))
        if domain.aliases:
            self.write_aliases(domain.aliases, name)

    def write_aliases(self, text: str | bytes, domain: str = DOMAIN) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        (self.path / "domains" / domain / "aliases").write_bytes(data)

    def add_certificate(self, name: str) -> None:
        write_certificate(self.path / "certs" / name, name)

    def order(self, recipient: str, shell: str) -> None:
        """What the MDA does for a recipient after it has recorded the call: `exit 75`."""
        (self.orders / recipient).write_text(shell + "\n")

    # reading what happened

    def deliveries(self, marker: bytes = b"") -> list[Delivery]:
        """All complete records whose message contains the marker, oldest first."""
        folders = [p for p in self.records.iterdir() if not p.name.startswith(".")]
        folders.sort(key=lambda folder: (folder / "stdin").stat().st_mtime_ns)
        found: list[Delivery] = []
        for folder in folders:
            message = (folder / "stdin").read_bytes()
            if marker in message:
                words = (folder / "argv").read_bytes().decode().split("\0")[:-1]
                found.append(Delivery(tuple(words), message))
        return found

    def wait_for_deliveries(
        self, count: int, marker: bytes, *, timeout: float = 10
    ) -> list[Delivery]:
        """The first moment with at least `count` records of the marker; fails at the timeout."""
        wait_for(
            lambda: len(self.deliveries(marker)) >= count,
            timeout_s=timeout,
            what=f"{count} deliveries of {marker!r}",
        )
        return self.deliveries(marker)

    def log_lines(self, *words: str) -> list[str]:
        """Lines of the mail log that contain all of the words."""
        if not self.mail_log.exists():
            return []
        lines = self.mail_log.read_text(errors="replace").splitlines()
        return [line for line in lines if all(word in line for word in words)]

    def wait_for_log(self, *words: str, count: int = 1, timeout: float = 10) -> list[str]:
        """The first moment with `count` such lines in the mail log; fails at the timeout."""
        try:
            wait_for(lambda: len(self.log_lines(*words)) >= count, timeout_s=timeout)
        except WaitedInVain:
            found = "\n".join(self.log_lines()[-20:])
            raise AssertionError(f"no {count} lines with {words} in:\n{found}") from None
        return self.log_lines(*words)
