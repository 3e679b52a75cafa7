"""The part of the configuration tree that is about hooks: `[hooks]` and `[[hook]]`."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from relevo.config.free_table import FreeTable
from relevo.config.hook_target import PROGRAM_FORMS, SERVICE_FORMS, is_module
from relevo.config.key import key
from relevo.hooks.contract import Stage

if TYPE_CHECKING:
    from pathlib import Path

_MS = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_KIB = 1024
_GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """[hooks]"""

    post_data_timeout: timedelta = key(
        "`hooks/post-data` is killed after this.",
        timedelta(minutes=1),
        least=_MS,
        most=timedelta(minutes=10),
    )
    alias_timeout: timedelta = key(
        "`hooks/alias-resolve` and `hooks/alias-exists` are killed after this.",
        timedelta(seconds=5),
        least=_MS,
        most=timedelta(minutes=1),
    )
    alias_exists_errors: str = key(
        "What an `alias-exists` that cannot be started or is killed means for the address: that "
        "it does not exist, or 451.",
        "absent",
        choices=("absent", "tempfail"),
    )
    on_error: str = key(
        "What a `post-data` that cannot be started, is killed or crashes means for the message.",
        "tempfail",
        choices=("tempfail", "accept", "reject"),
    )
    writable_by_others: str = key(
        "Hooks that others may write to: treat as failing, or warn once.",
        "refuse",
        choices=("refuse", "warn"),
    )
    max_concurrent: int = key(
        "`post-data` hooks at once, over all workers.", 32, least=1, most=1024
    )
    alias_max_concurrent: int = key(
        "Alias hooks at once, over all workers.", 32, least=1, most=1024
    )
    slot_timeout: timedelta = key(
        "How long a call waits for one of these places before it fails.",
        timedelta(seconds=10),
        least=_MS,
        most=timedelta(minutes=5),
    )
    cache_ttl: timedelta = key(
        "How long the answer of an alias hook is used again; 0s: never.",
        timedelta(seconds=10),
        least=timedelta(0),
        most=_DAY,
    )
    negative_ttl: timedelta = key(
        "The same for the answer that there is no alias.",
        timedelta(seconds=10),
        least=timedelta(0),
        most=_DAY,
    )
    cache_size: int = key("Addresses kept for that, a worker.", 10_000, least=1, most=1_000_000)
    output_limit: int = key(
        "Octets a hook may print; more is a failure.",
        64 * _KIB,
        unit="bytes",
        least=512,
        most=128 * _KIB,
    )
    max_processes: int = key(
        "Processes a call may have at once; more is a failure.", 256, least=1, most=100_000
    )
    memory_limit: int = key(
        "Private memory of each hook process; 0: no limit.",
        2 * _GIB,
        unit="bytes",
        least=0,
        most=1024 * _GIB,
    )
    cpu_limit: timedelta = key(
        "Processor time of each hook process, whole seconds; 0s: no limit.",
        timedelta(minutes=1),
        least=timedelta(0),
        most=_DAY,
    )
    file_size_limit: int = key(
        "Largest file a hook may write; 0: no limit.",
        _GIB,
        unit="bytes",
        least=0,
        most=1024 * _GIB,
    )
    open_files: int = key("Open files of each hook process; 0: no limit.", 1024, least=0)
    sandbox: str = key(
        "What hooks that are programs are kept to. `true`: no network, and no file is changed but "
        "those named below; `\"strict\"`: none is read either, but the system's, the hook's own "
        "and those named. Where the kernel cannot do that, the server does not start.",
        "false",
        choices=("false", "true", "strict"),
    )
    writable: tuple[str, ...] = key(
        "Files and folders that hooks in a sandbox may change, relative to the config directory.",
        (),
    )
    readable: tuple[str, ...] = key("What a strict sandbox may read besides.", ())
    breaker_failures: int = key(
        "After so many calls of a hook in a row that were killed or crashed, it is not called for "
        "a while; 0: always call.",
        10,
        least=0,
        most=1_000_000,
    )
    breaker_pause: timedelta = key(
        "That while; then one call is a trial.",
        timedelta(seconds=10),
        least=_MS,
        most=_DAY,
    )
    shadow_keep: timedelta = key(
        "How long what shadows said is kept.", 7 * _DAY, least=timedelta(minutes=1), most=365 * _DAY
    )
    shadow_max_size: int = key(
        "Octets of that at most; the oldest goes first. Each worker has its share of them.",
        64 * 1024 * _KIB,
        unit="bytes",
        least=1024 * _KIB,
        most=_GIB,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredHook:
    """One [[hook]]: a program or service with contract v2."""

    name: str = key("For logs and traces; default: the target's file name.", "")
    stage: str = key(
        "When it is called.",
        "post-data",
        choices=tuple(stage.value for stage in Stage),
    )
    form: str = key(
        "How it is called: `exec`, a process a call; `worker`, processes that stay and answer many "
        "calls, a JSON object a line; `python`, the same with functions of a Python file; `http`, "
        "a POST; `milter`, a mail filter (post-data); `policy`, a server of Postfix's policy "
        "delegation (mail, rcpt).",
        "exec",
        choices=PROGRAM_FORMS + SERVICE_FORMS,
    )
    target: str = key(
        "The program, relative to the config directory; of `python` a file, or an installed module "
        "like `relevo.hook.ready.rspamd`; of `http` the URL; of `milter` and `policy` `unix:/PATH` "
        "or `HOST:PORT`. Needed.",
        "",
    )
    secret_file: str = key(
        "File with the secret that signs the requests of `http`, relative to the config "
        "directory; one line. Empty: they are not signed.",
        "",
    )
    ca_file: str = key(
        "File with the certificates that an `https:` target is verified with, relative to the "
        "config directory. Empty: those of the system.",
        "",
    )
    arguments: tuple[str, ...] = key("Its arguments.", ())
    settings: FreeTable = key(
        "A table of its own, which a program finds as JSON in `RELEVO_HOOK_SETTINGS`. No place for "
        "secrets: name files that hold them.",
        FreeTable(),
    )
    timeout: timedelta = key(
        "It is killed, or given up, after this.",
        timedelta(seconds=30),
        least=_MS,
        most=timedelta(minutes=10),
    )
    on_error: str = key(
        "What its failure means; at `alias-resolve` and `alias-exists`, `reject` and `accept` mean "
        "that it knows no alias; at `delivered`, `deferred`, `failed` and `dsn` it means nothing.",
        "tempfail",
        choices=("tempfail", "accept", "reject"),
    )
    max_concurrent: int = key(
        "Calls at once, over all workers, at least one each.", 16, least=1, most=1024
    )
    processes: int = key(
        "Processes of the forms `worker` and `python`, at least one for each worker of the server; "
        "each has its share of `max_concurrent`.",
        2,
        least=1,
        most=64,
    )
    recycle_above: int = key(
        "A process of these forms that uses more memory than this is replaced; 0: never.",
        256 * 1024 * 1024,
        unit="bytes",
        least=0,
        most=1024 * _GIB,
    )
    shadow: bool = key(
        "A candidate: it is asked beside the live hooks of its stage, after them, and what it says "
        "is compared and never done (`relevo hook shadow-report`). Not at the alias stages.",
        False,
    )
    shadow_of: str = key(
        "The hook that a shadow is compared with, by name (`hooks/post-data` is one). Empty: with "
        "what all hooks of the stage came to.",
        "",
    )
    canary_of: str = key(
        "The hook, by name, in whose place this one is asked about a share of the mail.", ""
    )
    canary: str = key(
        "That share, `\"10%\"`: chosen by the message's id, before there is one by the client's "
        "address.",
        "",
    )
    canary_min_calls: int = key(
        "So many calls of a canary must have been made before it is judged.",
        20,
        least=1,
        most=1_000_000,
    )
    canary_tolerance: str = key(
        "When the share of a canary's calls that fail is larger by this than that of its hook's, "
        "all mail goes to the hook again, until a reload or `relevo hook canary reset`.",
        "5%",
    )
    run_as: str = key(
        "User that it runs as; only a server started as root can do that. Empty: the server's.", ""
    )
    memory_limit: int = key(
        "As in `[hooks]`; 0: that one.", 0, unit="bytes", least=0, most=1024 * _GIB
    )
    cpu_limit: timedelta = key(
        "As in `[hooks]`; 0s: that one.", timedelta(0), least=timedelta(0), most=_DAY
    )
    file_size_limit: int = key(
        "As in `[hooks]`; 0: that one.", 0, unit="bytes", least=0, most=1024 * _GIB
    )
    open_files: int = key("As in `[hooks]`; 0: that one.", 0, least=0)
    sandbox: str = key(
        'As in `[hooks]`; `""`: that one.', "", choices=("", "false", "true", "strict")
    )
    writable: tuple[str, ...] = key("As in `[hooks]`, in addition to those.", ())
    readable: tuple[str, ...] = key("As in `[hooks]`, in addition to those.", ())

    @property
    def is_service(self) -> bool:
        """Whether it is connected to, and no program of ours."""
        return self.form in SERVICE_FORMS

    @property
    def is_module(self) -> bool:
        """Whether it is an installed Python module, and no file of the operator."""
        return is_module(self.form, self.target)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its target is no file below the config directory."""
        return self.is_service or self.is_module

    @property
    def is_variant(self) -> bool:
        """Whether it is a shadow or a canary, and not asked in its own right."""
        return self.shadow or bool(self.canary_of)

    @property
    def role(self) -> str:
        """What a variant is for, "" for a live hook."""
        if self.shadow:
            return f"shadow of {self.shadow_of or 'the stage'}"
        return f"canary, {self.canary} of {self.canary_of}" if self.canary_of else ""

    def placed(self, config_dir: Path) -> DeclaredHook:
        """With its files below the config directory."""
        return replace(
            self,
            target=self.target if self.is_elsewhere else str(config_dir / self.target),
            secret_file=str(config_dir / self.secret_file) if self.secret_file else "",
            ca_file=str(config_dir / self.ca_file) if self.ca_file else "",
        )
