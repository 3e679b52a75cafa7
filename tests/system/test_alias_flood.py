"""A dictionary attack on an alias hook that takes its time, and mail for users that exist.

`make hostile` sets RELEVO_HOSTILE=full, which makes the attack as long as a real one.
"""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from harness.dialog import Dialog
from harness.latency import Latency
from harness.processes import Process
from harness.server import RelevoFactory, RelevoServer

IS_FULL = os.environ.get("RELEVO_HOSTILE") == "full"
RECIPIENTS = 10_000 if IS_FULL else 1_000
SESSIONS = 50
TRIES = 3
EVERY_S = 0.01  # a message for a user that exists
USUAL = 200  # messages without the attack
BELIEVED_S = 0.03  # the server believes for 20 ms that there is no hook

# arguments: host, port, sessions, recipients; prints how often each code was answered, as JSON.
# A session asks for ten names, because the answers to more of them would be delayed.
ATTACK = """
import asyncio, collections, json, sys
host, port, sessions, recipients = sys.argv[1], *map(int, sys.argv[2:])
codes = collections.Counter()
names = iter(range(recipients))
async def command(reader, writer, line):
    writer.write(line.encode() + b"\\r\\n")
    while (answer := await reader.readline())[3:4] == b"-":
        pass
    return answer[:3].decode()
async def attack():
    while (number := next(names, None)) is not None:
        reader, writer = await asyncio.open_connection(host, port)
        await reader.readline()
        await command(reader, writer, "EHLO attacker.test")
        await command(reader, writer, "MAIL FROM:<a@r.test>")
        for _ in range(10):
            codes[await command(reader, writer, f"RCPT TO:<name{number}@d1.test>")] += 1
            if _ < 9 and (number := next(names, None)) is None:
                break
        writer.close()
async def main():
    await asyncio.gather(*(attack() for _ in range(sessions)))
asyncio.run(main())
print(json.dumps(codes))
"""


@pytest.mark.alone
@pytest.mark.timeout(600 if IS_FULL else 120)
def test_mail_for_users_keeps_its_latency_in_a_dictionary_attack(
    start_relevo: RelevoFactory,
) -> None:
    tried = []
    for number in range(TRIES):
        server = start_relevo(name=f"try-{number}", settings={"delivery.local": "discard"})
        write_hook(server, "exec sleep 0.1")
        with Dialog(server.smtp) as client:
            client.expect(250, "EHLO client.test")
            send(client)  # from here on it is known that the user has no alias
            usual = Latency.of([send(client) for _ in range(USUAL)])
            attack = start_attack(server)
            seconds = []
            while attack.is_running():
                seconds.append(send(client))
        server.stop()
        assert json.loads(attack.output()) == {"550": RECIPIENTS}
        meanwhile = Latency.of(seconds)
        tried.append(f"usual {usual}, meanwhile {meanwhile}")
        print(tried[-1])
        if meanwhile.is_normal(usual):
            return
    pytest.fail("\n".join(tried))


def write_hook(server: RelevoServer, text: str) -> None:
    folder = server.config.path / "hooks"
    folder.mkdir()
    hook = folder / "alias-resolve"
    hook.write_text(f"#!/bin/sh\n{text}\n")
    hook.chmod(0o755)
    time.sleep(BELIEVED_S)


def start_attack(server: RelevoServer) -> Process:
    words = [sys.executable, "-c", ATTACK, *server.smtp, SESSIONS, RECIPIENTS]
    return server.reaper.start([str(word) for word in words], log=server.config.path / "attack.log")


def send(client: Dialog) -> float:
    """A message for a user, and then a moment without one; seconds that it took."""
    start = time.perf_counter()
    client.expect(250, "MAIL FROM:<a@r.test>")
    client.expect(250, "RCPT TO:<user@d1.test>")
    client.expect(354, "DATA")
    client.send(b"Subject: s\r\n\r\nbody\r\n.\r\n")
    assert client.reply().code == 250
    seconds = time.perf_counter() - start
    time.sleep(EVERY_S)
    return seconds
