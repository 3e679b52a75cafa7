"""The two sets of defaults, and every default in which they differ.

"relevo" is for a new server: the defaults of the model. "chasquid" is what a directory with a
`chasquid.conf` gets unless its `relevo.toml` says otherwise, so that it works as it did.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from relevo.config.schema import KEYS
from relevo.config.toml_text import toml_value


class Profile(Enum):
    """A set of defaults."""

    RELEVO = "relevo"
    CHASQUID = "chasquid"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose default under the profile "chasquid" is not the model's."""

    key: str
    value: Any
    why: str


DIFFERENCES = (
    Difference("data_dir", Path("/var/lib/chasquid"), "Where chasquid keeps its data."),
    Difference("listen.smtp", ("systemd",), "chasquid takes its sockets from systemd."),
    Difference("listen.submission", ("systemd",), "chasquid takes its sockets from systemd."),
    Difference("listen.submission_tls", ("systemd",), "chasquid takes its sockets from systemd."),
    Difference(
        "proxy.trusted", ("0.0.0.0/0", "::/0"), "chasquid takes a PROXY header from anybody."
    ),
    Difference("submission.sender_check", "off", "chasquid's users may send as anybody."),
    Difference("forwarding.rewrite", "chasquid", "Forwarded mail leaves with the same sender."),
    Difference("spf.skip_networks", (), "chasquid checks every client."),
    Difference("spf.check_helo", False, "chasquid does not check the name from EHLO."),
    Difference("penalties.delay_from", 200, "chasquid slows nobody down; no ordinary client is."),
    Difference("penalties.refuse_from", 1000, "chasquid refuses nobody; no ordinary client is."),
    Difference("penalties.connections_per_minute", 6000, "chasquid counts none."),
    Difference("penalties.commands_per_minute", 300_000, "chasquid counts none."),
    Difference("dkim.signing_domain", "envelope", "chasquid signs as the domain of MAIL FROM."),
    Difference("dmarc.action", "tag", "chasquid refuses nothing because of DMARC."),
    Difference("dmarc.bad_from", "accept", "chasquid does not look at From."),
    Difference("dmarc.reports", False, "chasquid sends no reports."),
    Difference("arc.seal", False, "chasquid does not add to messages that it hands on."),
    Difference("delivery.local", "mda", "chasquid hands local mail to a mail delivery agent."),
    Difference("hooks.writable_by_others", "warn", "chasquid does not look at it."),
    Difference(
        "outbound.allow_addresses", ("0.0.0.0/0", "::/0"), "chasquid connects to any address."
    ),
    Difference("queue.delay_notice", timedelta(0), "chasquid tells of failures only."),
    Difference("queue.notices_per_minute", 0, "chasquid has no limit."),
    Difference("queue.retry_at_start", True, "chasquid tries all at start."),
    Difference("queue.give_up_after", timedelta(hours=20), "chasquid's default."),
    Difference("mail_log.path", "syslog", "chasquid's default."),
    Difference("monitoring.names", "chasquid", "Dashboards ask for chasquid's names."),
)
"""The table; `differences_table` renders it for the documentation."""

_NOTES = """
- `hostname`: without it the profile `chasquid` takes the system's host name as it is; the profile
  `relevo` takes the fully qualified one.
- `queue.max_messages`: the same in both. A `chasquid.conf` without `max_queue_items` does not get
  chasquid's limit of 200 messages; set `max_queue_items` to have a limit.
"""


def profile_defaults(profile: Profile) -> dict[str, Any]:
    """The default of every key, by dotted name."""
    values = {name: key.default for name, key in KEYS.items()}
    if profile is Profile.CHASQUID:
        values |= {difference.key: difference.value for difference in DIFFERENCES}
    values["profile"] = profile.value
    return values


def differences_table() -> str:
    """Every default that depends on the profile, as Markdown."""
    rows = [
        f"| `{difference.key}` | `{toml_value(KEYS[difference.key], KEYS[difference.key].default)}`"
        f" | `{toml_value(KEYS[difference.key], difference.value)}` | {difference.why} |"
        for difference in DIFFERENCES
    ]
    head = ("| key | profile `relevo` | profile `chasquid` | why |", "|---|---|---|---|")
    return "\n".join((*head, *rows)) + "\n" + _NOTES


def system_hostname(profile: Profile) -> str:
    """The name of this machine as the profile wants it.

    The system's resolver is asked only when the plain host name has no dot; `/etc/hosts` is
    normally the first to answer it.
    """
    name = socket.gethostname()
    if profile is Profile.CHASQUID or "." in name:
        return name
    try:
        answers = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
    except OSError:
        return name
    canonical = answers[0][3]
    return canonical if "." in canonical else name
