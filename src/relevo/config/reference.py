"""The reference page and the example file, made from the model's documentation.

    python -m relevo.config.reference DIRECTORY

writes both below DIRECTORY, the top of a checkout. A test fails while they are not up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import wrap

from relevo.config.profiles import differences_table
from relevo.config.schema import HOOK_KEYS, KEYS, RELAY_KEYS, ROUTE_KEYS, SECTIONS, Key
from relevo.config.toml_text import toml_value

PAGE = Path("docs/reference/configuration.md")
EXAMPLE = Path("examples/relevo.toml.example")

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m relevo.config.reference .`; edit src/relevo/config/ instead. -->

relevo reads one config directory, `/etc/relevo` unless told otherwise:

| path | what |
|---|---|
| `relevo.toml` | the keys of this page; may be empty, every key has a default |
| `chasquid.conf` | a chasquid configuration, taken as it is |
| `certs/<any>/fullchain.pem`, `privkey.pem` | one certificate a folder |
| `domains/<domain>/` | one folder a local domain |
| `domains/<domain>/users`, `aliases` | its users and aliases |
| `domains/<domain>/dkim:<selector>.pem` | its signing keys: PKCS#8, RSA or Ed25519 |
| `hooks/` | programs called for every message |

At least one of `relevo.toml` and `chasquid.conf` must exist. Where both set the same thing,
`relevo.toml` wins; `--set KEY=VALUE` on the command line wins over both, with dotted keys as in
`--set listen.smtp=127.0.0.1:2525`. Relative paths start at the config directory. An unknown key or
a bad value keeps the server from starting; all of them are named, with file and line.
`relevo config show` prints every value in force and where it came from.

Durations are texts such as `"30s"`, `"5m"`, `"1h30m"`, `"2d"` (units `ns us ms s m h d w`). Sizes
are octets or texts such as `"64KiB"`, `"50MiB"`, `"10MB"`. Where a list of texts is wanted, a
single text will do.

## Profiles

`profile` chooses the set of defaults. It is `chasquid` where a `chasquid.conf` exists and `relevo`
otherwise, unless `relevo.toml` sets it. The defaults in the tables below are those of `relevo`;
these differ:

"""

_WHAT_KEYS = {
    "": "Keys outside a table",
    "listen": "Where to listen",
    "proxy": "Proxies in front of the server",
    "xclient": "Proxies that speak SMTP",
    "server": "Processes",
    "smtp": "What is offered to clients",
    "limits": "Bounds of connections and messages",
    "penalties": "Sources that misbehave",
    "quarantine": "Messages set aside",
    "addresses": "How local parts are read",
    "auth": "Logging in",
    "submission": "What users may send",
    "forwarding": "Mail that aliases lead elsewhere",
    "relay": "Mail for other domains without a login",
    "dns": "Looking up names",
    "spf": "Who may send mail of a domain",
    "dkim": "Signatures of messages",
    "arc": "Messages that other servers handed on",
    "dmarc": "Whether the author is who the message says",
    "delivery": "Local delivery",
    "outbound": "Mail to other servers",
    "outbound_tls": "TLS with other servers",
    "hooks": "Programs of the operator",
    "replay": "Mail kept to try hooks on",
    "queue": "The queue",
    "history": "What is remembered about messages",
    "log": "The server's log",
    "mail_log": "One line for what happens to each message",
    "monitoring": "Metrics and the status page",
    "reload": "Looking for changed files",
}


_DECLARED_HOOKS = """
## `[[hook]]`: a program with contract v2, one table each

Called in the order of the file, after those in `hooks/`. What it is told and what it answers is in
[hooks.md](hooks.md).

| key | default | meaning |
|---|---|---|
"""


_DECLARED_ROUTES = """
## `[[route]]`: other servers for some of the mail to other domains, one table each

The first whose `recipients` and `senders` both fit is taken; mail that none fits goes to
`outbound.smarthost`, or to the mail exchangers.

| key | default | meaning |
|---|---|---|
"""


_DECLARED_RELAY_DOMAINS = """
## `[[relay_domain]]`: domains that others keep and mail is taken for, one table each

As a backup mail exchanger, or in front of another server. Mail goes on by a `[[route]]`, or to the
domain's mail exchangers.

| key | default | meaning |
|---|---|---|
"""


def reference_page() -> str:
    """docs/reference/configuration.md."""
    parts = [_INTRODUCTION, differences_table()]
    for section in ("", *SECTIONS):
        title = f"`[{section}]`: {_WHAT_KEYS[section].lower()}" if section else _WHAT_KEYS[section]
        parts.append(f"\n## {title}\n\n| key | default | meaning |\n|---|---|---|\n")
        parts += [_row(key) for key in KEYS.values() if key.section == section]
    parts.append(_DECLARED_ROUTES)
    parts += [_row(key) for key in ROUTE_KEYS.values()]
    parts.append(_DECLARED_RELAY_DOMAINS)
    parts += [_row(key) for key in RELAY_KEYS.values()]
    parts.append(_DECLARED_HOOKS)
    parts += [_row(key) for key in HOOK_KEYS.values()]
    return "".join(parts)


def example() -> str:
    """relevo.toml.example: every key, its default commented out."""
    lines = [
        "# relevo.toml: every key with its default (profile relevo). Nothing here is needed: set",
        "# what you want to change. Described in docs/reference/configuration.md.",
        "",
    ]
    for section in ("", *SECTIONS):
        if section:
            lines += ["", f"[{section}]", ""]
        for key in KEYS.values():
            if key.section == section:
                text = " ".join(filter(None, (key.doc, _range(key))))
                lines += [f"# {line}" for line in wrap(text, 97, break_on_hyphens=False)]
                lines += [f"#{key.field} = {toml_value(key, key.default)}", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"


def _row(key: Key) -> str:
    meaning = " ".join(filter(None, (key.doc, _range(key)))).replace("|", "\\|")
    meaning = re.sub(r"(<[a-z]+>)", r"`\1`", meaning)
    return f"| `{key.field}` | `{toml_value(key, key.default)}` | {meaning} |\n"


def _range(key: Key) -> str:
    """The values taken, where the documentation gives more than the type."""
    if key.choices:
        return f"One of {', '.join(f'`{choice}`' for choice in key.choices)}."
    least = None if key.least is None else toml_value(key, key.least).strip('"')
    most = None if key.most is None else toml_value(key, key.most).strip('"')
    match least, most:
        case None, None:
            return ""
        case _, None:
            return f"At least {least}."
        case None, _:
            return f"At most {most}."
        case _:
            return f"From {least} to {most}."


def main(top: Path) -> None:
    """Write both files below `top`."""
    for path, text in ((PAGE, reference_page()), (EXAMPLE, example())):
        target = top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
