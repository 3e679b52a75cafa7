"""New versions of hooks on the mail of a real server: shadow, replay, canary over two workers."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.dialog import Dialog
from harness.server import RELEVO, RelevoFactory, RelevoServer
from harness.waiting import wait_for
from relevo.hooks.trials.shadow_report import read_report
from relevo.service.control import ask

MANY = 10_000 if os.environ.get("RELEVO_HOSTILE") == "full" else 40
OLD = """\
async def post_data(message, context):
    if b"Subject: spam" in message.head:
        return {"verdict": "reject", "text": "no"}
    return {"tags": [context.spf_result]}
"""
NEW = OLD.replace("if b", 'if b"Subject: ham" in message.head or b')
TRIALS = """
[hooks]
breaker_failures = 0

[[hook]]
name = "old"
form = "python"
target = "hooks/old.py"

[[hook]]
name = "new"
form = "python"
target = "hooks/new.py"
"""


def start(start_relevo: RelevoFactory, new: str, more: str) -> RelevoServer:
    server = start_relevo()
    folder = server.config.path
    (folder / "hooks").mkdir(exist_ok=True)
    (folder / "hooks" / "old.py").write_text(OLD)
    (folder / "hooks" / "new.py").write_text(new)
    path = folder / "relevo.toml"
    path.write_text(path.read_text() + TRIALS + more)
    server.reload()
    wait_for(
        lambda: server.process.output().count("configuration and files re-read") == 2,
        what="both workers' reload",
    )
    return server


def send(server: RelevoServer, *messages: bytes, connections: int = 4) -> list[str]:
    """Ids of the messages that were accepted, "" for others."""

    def converse(number: int) -> list[str]:
        ids = []
        with Dialog(server.smtp, timeout_s=30) as dialog:
            for message in messages[number::connections]:
                dialog.envelope("a@r.test", "user@d1.test")
                reply = dialog.message(message)
                ids.append(reply.text.rpartition(" ")[2] if reply.code == 250 else "")
        return ids

    found = [""] * len(messages)
    with ThreadPoolExecutor(connections) as pool:
        for number, ids in enumerate(pool.map(converse, range(connections))):
            found[number::connections] = ids
    return found


def relevo(server: RelevoServer, *words: str) -> Any:
    folder = server.config.path
    command: list[str | Path] = [RELEVO, *words, "--json", "--config-dir", folder]
    process = server.reaper.start(command, log=folder / f"{words[1]}.log", cwd=folder)
    process.wait(30 + MANY / 20)
    return json.loads(process.output())


def shadow_calls(server: RelevoServer) -> int:
    return sum(report.calls for report in read_report(server.config.data, since=0.0))


def test_shadow_and_replay_find_what_a_new_version_does_differently(
    start_relevo: RelevoFactory,
) -> None:
    server = start(start_relevo, NEW, 'shadow = true\nshadow_of = "old"\n\n[replay]\nkeep = "1h"\n')
    large = b"Subject: ham\r\n\r\n" + (b"x" * 78 + b"\r\n") * 5_000
    plain, ham, spam = (b"Subject: %s\r\n\r\nbody\r\n" % word for word in (b"x", b"ham", b"spam"))
    messages = [plain] * MANY
    planted = {10: ham, 12: large, MANY // 2: ham, MANY - 1: ham}
    messages[11] = spam
    for number, message in planted.items():
        messages[number] = message
    ids = send(server, *messages)
    wanted = {ids[number] for number in planted}
    assert [number for number, each in enumerate(ids) if not each] == [11]

    wait_for(
        lambda: shadow_calls(server) == MANY, what="the shadow's calls", timeout_s=10 + MANY / 100
    )
    (report,) = relevo(server, "hook", "shadow-report")
    assert {each["message_id"] for each in report["differences"]} == wanted
    assert {each["compared"]["other"] for each in report["differences"]} == {"reject 554 5.7.1 no"}
    assert (report["equal"], report["different"], report["dropped"]) == (MANY - 4, 4, 0)

    new = str(server.config.path / "hooks/new.py")
    result = relevo(server, "hook", "replay", new, "--of", "old", "--jobs", "16")
    assert {each["message_id"] for each in result["differences"]} == wanted
    assert (result["calls"], result["equal"]) == (MANY, MANY - 4)
    kept = [*server.config.data.glob("kept-mail/*"), *server.config.data.glob("hook-shadows/*")]
    assert len(kept) >= 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_a_canary_that_crashes_is_given_up_on_both_workers(start_relevo: RelevoFactory) -> None:
    crashes = "async def post_data(message, context):\n    raise RuntimeError\n"
    more = 'canary = "50%"\ncanary_of = "old"\ncanary_min_calls = 5\n'
    server = start(start_relevo, crashes, more)
    plain = b"Subject: x\r\n\r\nbody\r\n"

    def canary() -> dict[str, Any]:
        canaries: list[dict[str, Any]] = ask(server.config.data, "status")["canaries"]
        return canaries[0] if canaries else {}

    def is_given_up() -> bool:
        send(server, *[plain] * 5)
        return bool(canary().get("returned_at"))

    wait_for(is_given_up, what="the end of the canary")
    assert all(send(server, *[plain] * 20))
    assert 5 <= canary()["calls"] < 12

    assert ask(server.config.data, "canary-reset new") == {"was_reset": True}
    assert not all(send(server, *[plain] * 20))
