r"""A plugin of pytest: the fixture `run_hook` runs any hook as the server does, without a server.

    from spam import post_data

    def test_a_lottery_is_refused(run_hook):
        said = run_hook(post_data, "Subject: the lottery\n\nact now\n")
        assert said.verdict == "reject"

A hook is a function, or a path: of a Python file (whose name ends in .py), or of a program of
contract v2 (`form="exec"`, the usual one, or `form="worker"`). It is told the context that the
reference shows, with what the test changes in it. What it says comes back as the verdict of its
stage, checked as the server checks it; what would be a failure there is `HookFailed` here. pytest
loads the plugin by itself where it is installed beside relevo.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import msgspec
import pytest

from relevo.hook.example import example
from relevo.hook.processes_of_tests import HookFailed, Job, run_exec, run_python, run_worker
from relevo.hooks.contract.answers import StageVerdict
from relevo.hooks.contract.json_form import SETTINGS_VARIABLE, TYPES, encode_context
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import InvalidVerdict

__all__ = ["HookFailed", "RunHook", "run_hook"]

Hook: TypeAlias = Callable[..., Any] | str | Path
Form: TypeAlias = Literal["", "exec", "worker", "python"]

MESSAGE = b"From: ann@example.net\nTo: info@example.org\nSubject: hello\n\nHello.\n"
"""Told at post-data where the test names none."""


class RunHook:
    """What the fixture is. `folder`: where hooks that are programs run; `stderr`: of the last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stderr = ""

    def __call__(
        self,
        hook: Hook,
        message: bytes | str | Path | EmailMessage = MESSAGE,
        *,
        stage: str = "",
        form: Form = "",
        arguments: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
        timeout_s: float = 10.0,
        **changes: object,
    ) -> Any:
        """The verdict. `stage`: by the name of the function, else post-data.

        `changes`: fields of the context; `client={"ip": "192.0.2.1"}` changes a part of one.
        Raises HookFailed for what the server takes for a failure.
        """
        chosen = _stage(hook, stage)
        context = encode_context(_changed(example(chosen.value), changes))
        octets = _octets(message) if chosen is Stage.POST_DATA else b""
        table = json.dumps(settings) if settings is not None else ""
        if callable(hook):
            with _variable(table):
                return _checked(chosen, _call(hook, chosen, context, octets, timeout_s))
        path = Path(hook).resolve()
        job = Job(
            path, tuple(arguments), self._environment(table), self.folder, context, octets,
            timeout_s,
        )  # fmt: skip
        match form or (
            "python" if path.suffix == ".py" and not os.access(path, os.X_OK) else "exec"
        ):
            case "python":
                answer, self.stderr = run_python(job)
            case "worker":
                answer, self.stderr = run_worker(job)
            case _:
                answer, self.stderr = run_exec(job)
        return _checked(chosen, answer)

    def _environment(self, table: str) -> dict[str, str]:
        """As the server's; with the table of settings if there is one."""
        given = {name: os.environ.get(name, "") for name in ("USER", "SHELL", "PATH")}
        return given | {"PWD": str(self.folder)} | ({SETTINGS_VARIABLE: table} if table else {})


@pytest.fixture
def run_hook(tmp_path: Path) -> RunHook:
    """Call it with a hook, and a message: it returns the verdict."""
    return RunHook(tmp_path)


def _stage(hook: Hook, name: str) -> Stage:
    if not name and callable(hook):
        name = getattr(hook, "__name__", "").replace("_", "-")
    try:
        return Stage(name or Stage.POST_DATA.value)
    except ValueError:
        raise HookFailed(f"there is no stage {name!r}; name one: stage=…") from None


def _changed(context: Any, changes: Mapping[str, object]) -> Any:
    """The context with other fields; a table changes the parts that it names."""
    whole = {}
    for name, value in changes.items():
        old = getattr(context, name, None)
        is_part = isinstance(value, dict) and dataclasses.is_dataclass(old)
        whole[name] = _changed(old, value) if is_part and isinstance(value, dict) else value
    return dataclasses.replace(context, **whole)


def _octets(message: bytes | str | Path | EmailMessage) -> bytes:
    match message:
        case bytes():
            octets = message
        case str():
            octets = message.encode()
        case Path():
            octets = message.read_bytes()
        case _:
            octets = message.as_bytes()
    return octets.replace(b"\r\n", b"\n")


def _call(
    function: Callable[..., Any], stage: Stage, context: bytes, octets: bytes, timeout_s: float
) -> bytes:
    from relevo.hook.runner import answer  # noqa: PLC0415 - pytest starts with this plugin

    module = ModuleType("hook_of_test")
    setattr(module, stage.value.replace("-", "_"), function)

    async def called() -> object:
        async with asyncio.timeout(timeout_s):
            return await answer(module, context, octets)

    return msgspec.json.encode(asyncio.run(called()))


def _checked(stage: Stage, answer: bytes) -> Any:
    """The verdict of these octets."""
    try:
        verdict: Any = msgspec.json.decode(answer or b"{}", type=TYPES[stage][1])
        if isinstance(verdict, StageVerdict):
            verdict.value(stage)
    except (msgspec.MsgspecError, InvalidVerdict) as error:
        raise HookFailed(f"it answers {answer[:200]!r}: {error}") from error
    return verdict


@contextmanager
def _variable(table: str) -> Iterator[None]:
    """The settings of a function, while it is called."""
    before = os.environ.pop(SETTINGS_VARIABLE, None)
    if table:
        os.environ[SETTINGS_VARIABLE] = table
    try:
        yield
    finally:
        os.environ.pop(SETTINGS_VARIABLE, None)
        if before is not None:
            os.environ[SETTINGS_VARIABLE] = before
