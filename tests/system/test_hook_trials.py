"""New versions of hooks on the mail of a real server: shadow, replay, canary over two workers."""

from __future__ import annotations

import json
import stat
from typing import Any

from harness.dialog import Dialog
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for
from relevo.hooks.trials.shadow_report import read_report
from relevo.service.control import ask

OLD = """\
async def post_data(message, context):
    if b"spam" in message.head:
        return {"verdict": "reject", "text": "no"}
    return {"tags": [context.spf_result]}
"""
NEW = OLD.replace('b"spam" in', 'b"ham" in message.head or b"spam" in')
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


def send(server: RelevoServer, *messages: bytes) -> list[str]:
    """Ids of the messages that were accepted, "" for others; each over a connection of its own."""
    ids = []
    for message in messages:
        with Dialog(server.smtp, timeout_s=30) as dialog:
            dialog.envelope("a@r.test", "user@d1.test")
            reply = dialog.message(message)
            ids.append(reply.text.rpartition(" ")[2] if reply.code == 250 else "")
    return ids


def relevo(server: RelevoServer, *words: str) -> Any:
    folder = server.config.path
    process = run_relevo(server.reaper, *words, "--config-dir", folder, folder=folder)
    return json.loads(process.output())


def shadow_calls(server: RelevoServer) -> int:
    return sum(report.calls for report in read_report(server.config.data, since=0.0))


def test_shadow_and_replay_find_what_a_new_version_does_differently(
    start_relevo: RelevoFactory,
) -> None:
    server = start(start_relevo, NEW, 'shadow = true\nshadow_of = "old"\n\n[replay]\nkeep = "1h"\n')
    large = b"Subject: ham\r\n\r\n" + (b"x" * 78 + b"\r\n") * 5_000
    plain, ham, spam = (b"Subject: %s\r\n\r\nbody\r\n" % word for word in (b"x", b"ham", b"spam"))
    ids = send(server, *[plain] * 10, ham, spam, large, *[plain] * 5, ham)
    wanted = {ids[10], ids[12], ids[18]}
    assert "" not in wanted

    wait_for(lambda: shadow_calls(server) == len(ids), what="the shadow's calls")
    (report,) = relevo(server, "hook", "shadow-report", "--json")
    assert {each["message_id"] for each in report["differences"]} == wanted
    assert {each["compared"]["other"] for each in report["differences"]} == {"reject 554 5.7.1 no"}
    assert (report["equal"], report["different"], report["dropped"]) == (16, 3, 0)

    result = relevo(server, "hook", "replay", str(server.config.path / "hooks/new.py"), "--of",
                    "old", "--json")  # fmt: skip
    assert {each["message_id"] for each in result["differences"]} == wanted
    assert (result["calls"], result["equal"]) == (19, 16)
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
