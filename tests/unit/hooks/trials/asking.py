"""Messages that hooks are asked about, one after another or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from relevo.hooks.caller import Caller
from relevo.hooks.contract import Client, PostDataContext
from relevo.hooks.post_data import HookMessage, PostDataHooks, PostDataOutcome
from relevo.hooks.trials.canary import CanaryTable
from relevo.hooks.trials.trials import Trials
from unit.hooks.conftest import Site

CONTEXT = PostDataContext(
    message_id="id1",
    client=Client("192.0.2.7", 4711, "cli"),
    reverse_path="a@r.test",
    forward_paths=("user@d1.test",),
)


def message(number: int, body: bytes = b"body") -> HookMessage:
    return HookMessage(b"Subject: %d\r\nX-B: 1\r\n\r\n%s\r\n" % (number, body))


def message_id(number: int) -> str:
    return f"id-{number:05d}"


def with_data_dir(site: Site) -> Site:
    """With a data directory of its own."""
    queue = replace(site.config.queue, min_free_space=0.0)
    site.config = replace(site.config, data_dir=site.path / "data", queue=queue)
    site.config.data_dir.mkdir()
    return site


class Worker:
    """Hooks of post-data with what is tried on them, as a worker has them."""

    def __init__(self, site: Site, table: CanaryTable | None = None) -> None:
        self.caller = Caller(site.config, site.sockets)
        self.trials = Trials(self.caller, table or CanaryTable(), 0)
        self.hooks = PostDataHooks(self.caller)

    async def ask(self, number: int, about: HookMessage | None = None) -> PostDataOutcome:
        about = about or message(number)
        context = replace(CONTEXT, message_id=message_id(number), size=about.size)
        return await self.hooks.ask(self.hooks.find(), context, about, raw_hello="cli")

    async def ask_all(self, numbers: Iterable[int], at_once: int = 50) -> None:
        places = asyncio.Semaphore(at_once)

        async def ask(number: int) -> None:
            async with places:
                await self.ask(number)

        await asyncio.gather(*(ask(number) for number in numbers))

    async def close(self, *, settled: bool = True) -> None:
        """`settled`: once the shadows have answered."""
        if settled:
            await self.settle()
        await self.trials.aclose()
        self.caller.close()

    async def settle(self) -> None:
        """Shadows have answered, and large messages are kept."""
        shadows = [each for of_stage in self.trials._shadows.values() for each in of_stage]
        tasks = {task for shadow in shadows for task in shadow._tasks} | self.trials._tasks
        if tasks:
            await asyncio.wait(tasks)


def write_hook(folder: Path, name: str, body: str) -> None:
    """A hook in Python for post-data; `number` is that of the message."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"""\
async def post_data(message, context):
    number = int(context.message_id.partition("-")[2])
{lines}"""
    (folder / name).write_text(text)
