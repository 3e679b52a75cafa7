"""Running hooks to look at them: a caller that keeps what it saw, and what comes of it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from relevo.directory import AliasHookFailed
from relevo.directory.explanation import target_text
from relevo.hooks.alias_hooks import ProgramAliasHooks
from relevo.hooks.caller import Called, Caller
from relevo.hooks.contract import Accept, Client, Discard, PostDataContext, Refuse, Stage, Tls
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.hooks.programs import Form, Program
from relevo.mail import ReceptionFacts, head_length, parse_address, protocol_name, received_field
from relevo.queue.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.config import Config
    from relevo.hooks.host import PoolSockets
    from relevo.journal import HookVerdict
    from relevo.mail import Address

MESSAGE = b"Subject: a test of hooks\r\n\r\nThis is the body.\r\n"
_SHOWN_INPUT = 4000  # octets
_SHOWN_CONTEXT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What the command line says about the mail."""

    sender: str
    recipients: tuple[str, ...]
    auth: str = ""
    client: str = ""
    hello: str = ""
    is_tls: bool = False
    spf: str = "none"
    tags: tuple[str, ...] = ()
    route: str = "local"
    variables: Mapping[str, str] = field(default_factory=dict)
    message: bytes | None = None

    @property
    def tls(self) -> Tls | None:
        return Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384") if self.is_tls else None


@dataclass(frozen=True, slots=True)
class Seen:
    """One call, as it was."""

    called: Called
    environment: Mapping[str, str]
    arguments: tuple[str, ...]
    input: bytes
    context: bytes


@dataclass(slots=True)
class Trial:
    """All calls of a stage, and what comes of them."""

    seen: list[Seen]
    verdicts: list[str]
    result: str
    is_positive: bool
    top: str = ""  # of the message, when hooks changed it

    def text(self) -> str:
        """For people."""
        parts = [
            _call_text(seen, verdict)
            for seen, verdict in zip(self.seen, self.verdicts, strict=True)
        ]
        if not self.seen:
            parts.append("there is no hook at this stage\n")
        if self.top:
            parts.append(f"the header now:\n{_indented(self.top)}")
        return "\n".join((*parts, f"reply: {self.result}"))

    def as_dict(self) -> dict[str, object]:
        """For programs; octets that are no UTF-8 become U+FFFD."""
        calls = [
            {
                "hook": seen.called.program.name,
                "version": seen.called.version,
                "contract": seen.called.program.form.value,
                "arguments": list(seen.arguments),
                "environment": dict(seen.environment),
                "input": _decoded(seen.input),
                "context": _decoded(seen.context),
                "output": _decoded(seen.called.report.output),
                "stderr": _decoded(seen.called.report.errors),
                "ended": seen.called.report.describe(),
                "seconds": round(seen.called.report.seconds, 6),
                "verdict": verdict,
            }
            for seen, verdict in zip(self.seen, self.verdicts, strict=True)
        ]
        return {"calls": calls, "reply": self.result, "header": self.top}


class WatchingCaller(Caller):
    """Keeps what it calls hooks with, and sets variables of the user's."""

    def __init__(self, config: Config, sockets: PoolSockets, variables: Mapping[str, str]) -> None:
        super().__init__(config, sockets)
        self._variables = variables
        self.seen: list[Seen] = []

    async def call(
        self,
        program: Program,
        environment: Mapping[str, str],
        inputs: Sequence[int | bytes],
        arguments: tuple[str, ...] = (),
    ) -> Called:
        environment = {**environment, **self._variables}
        called = await super().call(program, environment, inputs, arguments)
        self.seen.append(
            Seen(
                called,
                environment,
                (*program.arguments, *arguments),
                _beginning(inputs[0], _SHOWN_INPUT),
                _beginning(inputs[1], _SHOWN_CONTEXT) if program.form is Form.V2 else b"",
            )
        )
        return called


def _beginning(given: int | bytes, octets: int) -> bytes:
    return given[:octets] if isinstance(given, bytes) else os.pread(given, octets, 0)


async def try_post_data(config: Config, sockets: PoolSockets, facts: Facts) -> Trial:
    """Ask the hooks of post-data about the message."""
    caller = WatchingCaller(config, sockets, facts.variables)
    hooks = PostDataHooks(caller)
    message_id = new_id()
    start = received_field(_reception(config, facts, message_id)) + _with_crlf(facts.message)
    sender = parse_address(facts.sender.strip("<>"))
    is_ours = is_from_local_domain(config, sender)
    context = PostDataContext(
        message_id=message_id,
        client=Client.of(facts.client, facts.hello),
        tls=facts.tls,
        auth=facts.auth,
        reverse_path=sender.plain,
        forward_paths=facts.recipients,
        spf_result=facts.spf,
        is_from_local_domain=is_ours,
        tags=facts.tags,
        size=len(start),
    )
    outcome = await hooks.ask(hooks.find(), context, HookMessage(start), raw_hello=facts.hello)
    verdicts = list(map(verdict_text, outcome.records))
    match outcome.verdict:
        case Accept():
            top = ""
            if outcome.start != start:
                top = _decoded(outcome.start[: head_length(outcome.start)])
            reply = f"250 2.0.0 Accepted as {message_id}"
            return Trial(caller.seen, verdicts, reply, is_positive=True, top=top)
        case Discard():
            reply = f"250 2.0.0 Accepted as {message_id} (and nothing is queued)"
            return Trial(caller.seen, verdicts, reply, is_positive=True)
        case Refuse(code, enhanced, text):
            reply = f"{code} {enhanced} {text}"
            return Trial(caller.seen, verdicts, reply, is_positive=False)
        case _:
            assert_never(outcome.verdict)


def verdict_text(record: HookVerdict) -> str:
    """A verdict on one line."""
    return " - ".join(filter(None, (record.verdict, record.change, record.reason)))


async def try_alias_stage(
    config: Config, sockets: PoolSockets, stage: Stage, facts: Facts
) -> Trial:
    """Ask the alias hooks about the first recipient."""
    caller = WatchingCaller(config, sockets, facts.variables)
    hooks = ProgramAliasHooks(caller)
    address = parse_address(facts.recipients[0])
    try:
        if stage is Stage.ALIAS_RESOLVE:
            targets = await hooks.resolve(address)
            found, result = bool(targets), ", ".join(map(target_text, targets)) or "no alias"
        else:
            found = bool(await hooks.exists(address))
            result = "it exists" if found else "it does not exist"
    except AliasHookFailed as error:
        found, result = False, f"451 4.4.3, since {error}"
    return Trial(caller.seen, [""] * len(caller.seen), result, is_positive=found)


def is_from_local_domain(config: Config, address: Address) -> bool:
    """Whether the server would take it for one of ours."""
    return address.is_null or (config.config_dir / "domains" / address.domain).is_dir()


def _reception(config: Config, facts: Facts, message_id: str) -> ReceptionFacts:
    return ReceptionFacts(
        hello_name=facts.hello,
        client_ip=facts.client.rpartition(":")[0].strip("[]"),
        is_authenticated=bool(facts.auth),
        hostname=config.hostname,
        protocol=protocol_name(
            is_esmtp=True, is_tls=facts.is_tls, is_authenticated=bool(facts.auth)
        ),
        tls_version="TLSv1.3" if facts.is_tls else "",
        tls_cipher="TLS_AES_256_GCM_SHA384" if facts.is_tls else "",
        mode="submission" if facts.auth else "SMTP",
        reverse_path=facts.sender,
        message_id=message_id,
        time=time.time(),
    )


def _with_crlf(message: bytes | None) -> bytes:
    if message is None:
        return MESSAGE
    return message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _call_text(seen: Seen, verdict: str) -> str:
    called, report = seen.called, seen.called.report
    lines = [f"{called.program.name}  {called.version}  contract {called.program.form.value}"]
    if seen.arguments:
        lines.append(f"  arguments: {' '.join(seen.arguments)}")
    lines.append("  environment:")
    lines += [f"    {name}={value}" for name, value in seen.environment.items()]
    for title, octets in (
        ("input", seen.input),
        ("context", seen.context),
        ("output", report.output),
        ("standard error", report.errors),
    ):
        if octets:
            lines += [f"  {title}:", _indented(_decoded(octets))]
    lines.append(f"  ended: {report.describe()}, after {report.seconds * 1000:.1f} ms")
    if verdict:
        lines.append(f"  verdict: {verdict}")
    return "\n".join(lines) + "\n"


def _decoded(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
