"""The process of a hook in Python: calls in on stdin, functions of the file called, answers out.

    python -P -m relevo.hook.runner FILE|MODULE [ARGUMENT …]

It speaks the protocol of workers (docs/reference/hooks.md). Calls run beside each other. What a
hook prints goes to stderr, so that it cannot be taken for an answer.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.hook.message import Message
from relevo.hook.refusals import Refusal
from relevo.hooks.contract.json_form import TYPES
from relevo.hooks.contract.stages import Stage

if TYPE_CHECKING:
    from types import ModuleType

MAX_LINE = 64 * 1024 * 1024  # octets; a context names at most some thousand recipients

_encode = msgspec.json.Encoder().encode


class NoHook(Exception):
    """The file cannot be used; the text says why."""


class _Call(msgspec.Struct):
    id: int
    size: int
    context: msgspec.Raw


class _Stage(msgspec.Struct):
    """What of a context says of which stage it is."""

    stage: str


_decode_call = msgspec.json.Decoder(_Call).decode
_decode_stage = msgspec.json.Decoder(_Stage).decode
_decoders: dict[str, Callable[[bytes], Any]] = {
    stage.value: msgspec.json.Decoder(context).decode for stage, (context, _) in TYPES.items()
}


def load_file(path: str) -> ModuleType:
    """The module of a file, run. Raises NoHook, and whatever the file raises."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120
    spec = importlib.util.spec_from_file_location("relevo_hook_file", path)
    if spec is None or spec.loader is None:
        raise NoHook(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load(target: str) -> ModuleType:
    """The module of a path, or an installed one of that name. Raises NoHook, and what it raises."""
    return load_file(target) if os.sep in target else importlib.import_module(target)


def function_of(module: ModuleType, stage: str) -> Callable[..., Any]:
    """The function of a stage. Raises NoHook."""
    name = stage.replace("-", "_")
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None:
        raise NoHook(f"{module.__file__} has no function {name}")
    return function


async def answer(module: ModuleType, context: bytes, octets: bytes) -> object:
    """What the hook says, as an object for JSON. Raises whatever it raises but refusals."""
    stage = _decode_stage(context).stage
    function = function_of(module, stage)
    arguments: tuple[object, ...] = (_decoders[stage](context),)
    if stage == Stage.POST_DATA.value:
        arguments = (Message(octets), *arguments)
    try:
        if inspect.iscoroutinefunction(function):
            said = await function(*arguments)
        else:
            said = await asyncio.to_thread(function, *arguments)
    except Refusal as refusal:
        return refusal.as_answer()
    return {} if said is None else said


class Runner:
    """Takes calls until stdin ends."""

    def __init__(self, module: ModuleType, output: int) -> None:
        self._module = module
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: list[bytes] = []  # answers of this turn of the loop

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            call = _decode_call(line)
            octets = await reader.readexactly(call.size)
            task = loop.create_task(self._take(call, octets))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._write()

    async def _take(self, call: _Call, octets: bytes) -> None:
        try:
            said = await answer(self._module, bytes(call.context), octets)
            line = _encode({"id": call.id} if said == {} else {"id": call.id, "answer": said})
        except Exception as error:  # noqa: BLE001 - task border: the call has failed
            traceback.print_exc()
            line = _encode({"id": call.id, "error": f"{type(error).__name__}: {error}"[:400]})
        if not self._said:
            asyncio.get_running_loop().call_soon(self._write)
        self._said.append(line)

    def _write(self) -> None:
        """All answers at once: the server reads them at once."""
        lines, self._said = self._said, []
        octets = b"".join([line + b"\n" for line in lines])
        while octets:
            octets = octets[os.write(self._output, octets) :]


def main(path: str) -> None:
    """The program."""
    output = os.dup(1)
    os.dup2(2, 1)  # what the hook prints is no answer
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    asyncio.run(Runner(load(path), output).run())


if __name__ == "__main__":
    del sys.argv[0]  # the file sees its own name and arguments, as a program would
    main(sys.argv[0])
