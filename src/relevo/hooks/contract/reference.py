"""docs/reference/hooks.md, made from the contract's values."""

from __future__ import annotations

import json
import textwrap

import msgspec

from relevo.hooks.contract.answers import MAX_TAGS
from relevo.hooks.contract.examples import EXAMPLES
from relevo.hooks.contract.json_form import schemas
from relevo.hooks.contract.notes import NOTES
from relevo.hooks.contract.reference_services import SERVICES
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import MAX_TEXT

_WIDTH = 100

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

_RULES = """
## Which programs are called

| where | contract | order |
|---|---|---|
| `hooks/<stage>` in the config directory | v1 | first |
| `hooks/<stage>.d/*` | v1 | then, by name; only names of letters, digits, `_`, `-` |
| `[[hook]]` in `relevo.toml` | v2 | then, in the order of the file |

Programs in `hooks/` are called only at {with_files}. A file of another stage's name is no hook.

Files are looked up at every call: what is added, replaced or deleted counts for the next mail
(that a stage has no hook at all is believed for 20 ms). A
missing file, or a link to nothing, is no hook. A file that is there and cannot be run (no run bit,
a folder, no interpreter, a script without `#!`, a link loop, writable by others where
`hooks.writable_by_others` is `refuse`) is a hook that fails.

The first verdict that is not accept ends a stage, and each hook is told what the ones before it
changed. At post-data each sees the message as the ones before left it, and what the last one adds
stands on top. At alias-resolve the targets of all hooks count; at alias-exists the first hook that
knows the address is enough.

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

A declaration with a table `[hook.settings]` sets one more variable, `RELEVO_HOOK_SETTINGS`: the
table as one JSON object. `RELEVO_HOOK_TRIAL` is `shadow` in a shadow and `replay` in `relevo hook
replay`, where nothing of the answer is done
([how](../how-to/try-hooks-on-real-mail.md)); else it is missing.

The exit status must be 0. Any other, a signal, the deadline, or a verdict that is not as below is
a failure, and `on_error` of the declaration says what it means. Unknown names in a verdict are not
allowed. Texts are UTF-8; octets of a client that are not have U+FFFD in their place and stand
beside it in a member whose name ends in `_b64`.

### The form `worker`

With `form = "worker"` the program stays and answers many calls; a call then costs a fraction of
what starting a process costs. It reads calls from stdin and writes answers to stdout:

- stdin: for each call a line with one JSON object,
  `{{"id": 7, "size": 2048, "context": {{…}}}}`, then `size` octets: at post-data the message with
  LF line ends, else none.
- stdout: for each call a line with one JSON object, `{{"id": 7, "answer": {{…}}}}`. The answer is
  the verdict; without one it is accept (no alias). With `{{"id": 7, "error": "why"}}` the call has
  failed.
- stderr: is shown in the log and in `relevo trace`, with the next answer.

`processes` of them, at least one for each worker of the server, share up to `max_concurrent` calls.
A worker writes to its process and reads from it with nobody in between. A process may answer its
calls in any order and is free to take one after the other. It ends when its stdin does. Where

- it ends, or writes a line that is no answer to a call it has: all its calls have failed, and the
  next call starts another process, after a second if it keeps ending at once;
- a call misses its deadline: that call has failed; the process gets no new ones, may finish those
  it has, and is replaced;
- it uses more memory than `recycle_above`, or its file was edited: it gets no new calls, and is
  replaced without any call failing.

`cpu_limit` of `[hooks]` does not hold for it, since it lives long; one of its own does.

### The form `python`

With `form = "python"` the target is a Python file, or the name of a module that is installed beside
relevo (with a dot in it: `mypackage.spam`), with a function for each stage that it is
declared for, named like it with `_` for `-`: `async def post_data(message, context)`,
`async def rcpt(context)`. Its processes are those of the form `worker`. A function that is no
coroutine function runs in a thread.

```python
from relevo.hook import Message, PostDataContext, PostDataVerdict, Reject


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    if b"lottery" in message.body:
        raise Reject("No lotteries, please")
    return PostDataVerdict(tags=["looked-at"])
```

`relevo.hook` has the contexts and verdicts below as classes, and `Reject` and `TempFail`, which
take `text`, `code` and `enhanced`. A `Message` has `octets`, `head`, `body`, and as
`email.message.EmailMessage` `fields` (the header alone) and `parsed`. None is accept. What the file
prints goes to stderr; any other exception is a failure of that call. Modules beside the file can be
imported. An edit of the file counts for the next call, one of its modules when the file is touched;
an installed module is loaded anew by `relevo reload`.

`settings(Mine)` is the table `[hook.settings]` of the declaration, checked against your class:

```python
from relevo.hook import MailContext, Reject, Settings, settings


class Mine(Settings, frozen=True):
    domains: list[str]
    text: str = "Not from there"


async def mail(context: MailContext) -> None:
    mine = settings(Mine)
    if context.reverse_path.rpartition("@")[2] in mine.domains:
        raise Reject(mine.text)
```

Hooks that are written already: [ready-made hooks](../how-to/ready-hooks.md). To try a hook without
a server: [test a hook](../how-to/test-hooks.md).

{services}
### The parts of a verdict

| name | meaning |
|---|---|
| `verdict` | `accept` if it is left out, `reject` (for good) or `tempfail` (for now); more below |
| `code` | of the refusal, 5xx or 4xx; 421 closes the connection |
| `enhanced` | its enhanced status code, of the class of `code`; `5.7.1` and `4.7.1` if left out |
| `text` | one line of at most {max_text} octets |
| `tags` | at most {max_tags} words for the hooks of later stages |

At mail, rcpt and post-data a verdict may also be `discard`: the message is accepted, and nothing
comes of it. At post-data, and at no other stage, it may be `quarantine`: the message is accepted
with all its changes and set aside until somebody releases or drops it; `text` says why. Hooks of
post-data behind this one are asked at the release, and the recipients are expanded anew then
([quarantine](../how-to/quarantine.md)). At route and before-attempt a hook can refuse for now
instead: the message waits, and it is asked again.

Codes, if they are left out: at connect 554 and 421, at auth 535 and 454, at post-data 554 and 451,
at ehlo, mail and rcpt 550 and 451.

**Tags** of connect, ehlo and auth hold for the connection, those of mail and rcpt for the
transaction, those of post-data for the message. Each later stage is told all of them, the stages
of delivery too, as they are stored with the message.

**The why record.** Each call is a row of the message's history with hook, version, verdict, change,
reason, standard error and time; `relevo trace` shows it. Rows of the stages before there is a
message commit with each message of the connection. A refusal is recorded with its rows.

{stages}
## What every hook gets, and cannot do

- It runs in a process group of its own without a terminal, with the descriptors above and no other,
  as the server's user or as `run_as`, and where there is not enough for all the server goes first.
  `relevo check` says which protections are in force.
- When its call is over, everything it has started is killed, daemons in other sessions included
  (of a `worker`: when its process is over).
- Its processes are bounded in number, memory, processor time, file size and open files; its output
  is bounded.
- At most `max_concurrent` run at once over the whole server; a call that finds no free place in
  `hooks.slot_timeout` fails.
- After `hooks.breaker_failures` crashes or missed deadlines in a row, over all workers, it is not
  called for `hooks.breaker_pause`, then tried once; an edit of its file ends the pause.

## JSON schema

```json
{schema}
```
"""


def reference_page() -> str:
    """The whole page."""
    rows = "".join(f"| `{stage.value}` | {stage.meaning} |\n" for stage in Stage)
    body = _RULES.format(
        with_files=", ".join(f"`{stage.value}`" for stage in Stage if stage.has_files),
        max_text=MAX_TEXT,
        max_tags=MAX_TAGS,
        services=SERVICES,
        stages="\n".join(map(_stage, Stage)).rstrip(),
        schema=json.dumps(schemas(), indent=1, ensure_ascii=False),
    )
    return _INTRODUCTION + rows + body


def _stage(stage: Stage) -> str:
    """The section of a stage: what its hooks are told and answer."""
    context, verdict = EXAMPLES[stage]
    parts = (
        f"### At {stage.value}",
        textwrap.fill(stage.meaning, _WIDTH, break_on_hyphens=False),
        "Context:",
        f"```json\n{_shown(context)}\n```",
        "Verdict:",
        f"```json\n{_shown(verdict)}\n```",
        textwrap.fill(NOTES[stage], _WIDTH, break_on_hyphens=False),
    )
    return "\n\n".join(parts) + "\n"


def _shown(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
