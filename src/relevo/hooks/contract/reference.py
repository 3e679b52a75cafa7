"""docs/reference/hooks.md, made from the contract's values."""

from __future__ import annotations

import json

import msgspec

from relevo.hooks.contract.contexts import AliasContext, Client, PostDataContext, Recipient, Tls
from relevo.hooks.contract.json_form import HeaderField, PostDataVerdict, schemas
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import MAX_TEXT

_INTRODUCTION = """\
# Hooks: the contract

<!-- Made by `scripts/make_docs.py`; edit src/relevo/hooks/contract/ instead. -->

A hook is a program of yours that is asked at a stage in the life of a message. How to write and
try one: [how-to/hooks.md](../how-to/hooks.md). The keys of `[hooks]` and `[[hook]]`:
[configuration.md](configuration.md).

## Stages

| name | when hooks are asked |
|---|---|
"""

_RESERVED = """
The names {names} are reserved for later releases.

## Which programs are called

| where | contract | order |
|---|---|---|
| `hooks/<stage>` in the config directory | v1 | first |
| `hooks/<stage>.d/*` | v1 | then, by name; only names of letters, digits, `_`, `-` |
| `[[hook]]` in `relevo.toml` | v2 | then, in the order of the file |

Files are looked up at every call: what is added, replaced or deleted counts for the next mail
(that a stage has no hook at all is believed for 20 ms). A
missing file, or a link to nothing, is no hook. A file that is there and cannot be run (no run bit,
a folder, no interpreter, a script without `#!`, a link loop, writable by others where
`hooks.writable_by_others` is `refuse`) is a hook that fails.

At post-data the first verdict that is not accept ends the stage. Each hook sees the message as
the ones before left it, and what the last one adds stands on top. At alias-resolve the targets of
all hooks count; at alias-exists the first hook that knows the address is enough.

## Contract v1

The contract of chasquid's hooks; existing scripts work unchanged.

### post-data

No arguments. Working directory: the config directory. stdin: the message with LF line ends, our
trace fields on top. The environment holds exactly these variables, the empty ones too:

| variable | value |
|---|---|
| `USER`, `SHELL`, `PATH` | those of the server, empty where it has none |
| `PWD` | the config directory |
| `REMOTE_ADDR` | the client as `ip:port`, IPv6 as `[ip]:port` |
| `EHLO_DOMAIN` | its EHLO or HELO name, only `A-Z a-z 0-9 - . [ ] :` of it |
| `EHLO_DOMAIN_RAW` | that name as it came, without control characters |
| `MAIL_FROM` | the reverse-path without angle brackets; the null reverse-path is `<>` |
| `RCPT_TO` | the forward-paths as accepted, before alias expansion, one blank between two |
| `AUTH_AS` | the user that logged in; empty: nobody did |
| `ON_TLS` | `1` on an encrypted connection, else `0` |
| `FROM_LOCAL_DOMAIN` | `1` if the reverse-path is in a domain of ours, or null, else `0` |
| `SPF_PASS` | `1` if SPF said pass (never for a user that logged in), else `0` |

A forward-path with a blank or a control character in it has those as `%XX` in `RCPT_TO`.

| the hook ends with | meaning |
|---|---|
| exit 0 | accept; stdout is header fields, put on top of everything |
| exit 20 | refuse for good: `554` |
| any other exit status | refuse for now: `451` |
| a signal, or cannot be started | it failed: `hooks.on_error` |
| its deadline `hooks.post_data_timeout`, or too much output | killed; it failed: `hooks.on_error` |

The text of a refusal is the last line of stdout that is not blank, as one printable line of at
most {max_text} octets. It may start with an enhanced status code of its class (`5.7.1`,
`4.2.0`); otherwise `5.7.1` or `4.7.1` is put before it. Header fields are taken as a whole or,
when a line is no field (RFC 5322 §2.2) and continues none, not at all, which is logged.

### alias-resolve

One argument: the address. stdin is empty. The environment is `USER`, `SHELL`, `PATH` and `PWD`.
With exit 0, stdout is read like the right-hand side of an aliases file: addresses separated by
commas or line ends, `address via host/host`, or `| command`. Nothing is no alias. Anything else
(another exit status, a signal, `hooks.alias_timeout`, output that cannot be read) is a failure:
the answer to the client is 451, never "no such user".

### alias-exists

The same call, with the address without suffix and drop characters. Exit 0: it exists. Any other
exit status: it does not. stdout is not read. What a failure means says
`hooks.alias_exists_errors`. Where there is an alias-exists, it decides at RCPT alone, and
alias-resolve is asked only when the message is taken.

An address that starts with `-` or has a control character is never given to an alias hook: it is
no alias.

## Contract v2

The working directory and the environment (`USER`, `SHELL`, `PATH`, `PWD`) are as above. The
arguments are those of the declaration.

| descriptor | what |
|---|---|
| 0 | post-data: the message with LF line ends, as above; else empty |
| 1, 2 | what the hook writes there is shown in the log and in `relevo trace` |
| 3 | the context: one JSON object, then the end |
| 4 | the verdict is written here: one JSON object; nothing is accept (no alias) |

The exit status must be 0. Any other, a signal, the deadline, or a verdict that is not as below is
a failure, and `on_error` of the declaration says what it means. Unknown names in a verdict are not
allowed. Texts are UTF-8; octets of a client that are not have U+FFFD in their place and stand
beside it in a member whose name ends in `_b64`.

### Context at post-data

```json
{context}
```

### Verdict at post-data

```json
{verdict}
```

`verdict` is `accept`, `reject` or `tempfail`. `code` (554, 451), `enhanced` (`5.7.1`, `4.7.1`) and
`text` are those of the refusal. With `accept`, header fields are removed, then replaced (the first
of the name; it is added if there is none), then added on top. `remove_recipients` are forward-paths
or their targets; when none is left, the message is accepted and goes nowhere. `add_recipients` are
resolved like any other. `sender` replaces the reverse-path, `""` by the null one. All of it happens
together with the message being queued, exactly once, or not at all.

### Context and verdict at alias-resolve and alias-exists

```json
{alias_context}
```

Verdict: `{{"targets": ["a@example.org", "b"]}}`, each an address as in an aliases file; or
`{{"exists": true}}`.

## What every hook gets, and cannot do

- It runs in a session of its own, with the descriptors above and no other, as the server's user or
  as `run_as`.
- When its call is over, everything it has started is killed, daemons in other sessions included.
- Its processes are bounded in number, memory, processor time, file size and open files; its output
  is bounded.
- At most `max_concurrent` run at once over the whole server; a call that finds no free place in
  `hooks.slot_timeout` fails.
- After `hooks.breaker_failures` crashes or missed deadlines in a row it is not called for
  `hooks.breaker_pause`, then tried once; an edit of its file ends the pause.

## JSON schema

```json
{schema}
```
"""


def reference_page() -> str:
    """The whole page."""
    rows = "".join(f"| `{stage.value}` | {stage.meaning} |\n" for stage in Stage if stage.is_run)
    reserved = ", ".join(f"`{stage.value}`" for stage in Stage if not stage.is_run)
    body = _RESERVED.format(
        names=reserved,
        max_text=MAX_TEXT,
        context=_shown(_example_context()),
        verdict=_shown(_example_verdict()),
        alias_context=_shown(
            AliasContext(stage=Stage.ALIAS_RESOLVE.value, address="info@example.org")
        ),
        schema=json.dumps(schemas(), indent=1, ensure_ascii=False),
    )
    return _INTRODUCTION + rows + body


def _example_context() -> PostDataContext:
    return PostDataContext(
        message_id="1m87q8pm1861mpmt1csg",
        client=Client("192.0.2.7", 40123, "mail.example.net"),
        tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        reverse_path="ann@example.net",
        forward_paths=("info@example.org",),
        recipients=(Recipient("joe@example.org", "mail", "info@example.org"),),
        spf_result="pass",
        size=2048,
    )


def _example_verdict() -> PostDataVerdict:
    return PostDataVerdict(
        add_headers=[HeaderField("X-Spam-Score", "1.2")],
        remove_headers=["X-Spam-Flag"],
        replace_headers=[HeaderField("Subject", "[list] hello")],
        add_recipients=["archive@example.org"],
        remove_recipients=["joe@example.org"],
        sender="list-bounces@example.org",
        tags=["list"],
    )


def _shown(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
