"""A message in quarantine: accepted, kept, seen, released once or dropped for good."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for
from system.test_hook_stages import message_id, program, rows, send, start

HOOKS = "".join(
    f'\n[[hook]]\nname = "{name}"\nstage = "post-data"\ntarget = "{name}"\ntimeout = "5s"\n'
    for name in ("first", "second", "third")
)
QUARANTINE = '{"verdict": "quarantine", "text": "odd", "tags": ["odd"]}'


def field(name: str) -> str:
    return json.dumps({"add_headers": [{"name": name, "value": "yes"}]})


@pytest.fixture
def server(start_relevo: RelevoFactory) -> RelevoServer:
    """Of three hooks the second one wants everything in quarantine."""
    server = start(start_relevo, HOOKS)
    program(server.config.path, "first", f"echo '{field('X-First')}' >&4")
    program(server.config.path, "second", f"echo '{QUARANTINE}' >&4")
    program(server.config.path, "third", f"echo '{field('X-Third')}' >&4")
    return server


def quarantine(server: RelevoServer, *words: str) -> str:
    folder = server.config.path
    place = ("--config-dir", str(folder))
    return run_relevo(server.reaper, "quarantine", *words, *place, folder=folder).output()


def listed(server: RelevoServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(quarantine(server, "list", "--json"))
    return found


def test_it_waits_and_goes_on_behind_the_hook_that_set_it_aside(server: RelevoServer) -> None:
    accepted = message_id(send(server))
    assert [row["hook"] for row in rows(server, accepted)] == ["first", "second"]
    (entry,) = listed(server)
    assert (entry["id"], entry["by"], entry["reason"]) == (accepted, "second", "odd")
    assert entry["released"] is False
    assert server.config.mailbox("user@d1.test").files() == []
    assert accepted not in run_relevo(
        server.reaper, "queue", "list", "--config-dir", str(server.config.path),
        folder=server.config.path,
    ).output()  # fmt: skip

    quarantine(server, "release", accepted)
    (message,) = server.config.mailbox("user@d1.test").wait()
    head = message.replace(b"\r\n", b"\n").partition(b"Received:")[0]
    assert b"X-Third: yes\nX-First: yes\n" in head
    assert [row["hook"] for row in rows(server, accepted)] == ["first", "second", "third"]
    assert [row["verdict"] for row in rows(server, accepted)] == ["accept", "quarantine", "accept"]
    assert listed(server) == []


def test_an_alias_is_expanded_as_it_stands_at_the_release(server: RelevoServer) -> None:
    accepted = message_id(send(server))
    aliases = server.config.path / "domains" / "d1.test" / "aliases"
    aliases.write_text("user: juan@d1.test\n")
    server.reload()
    quarantine(server, "release", accepted)
    server.config.mailbox("juan@d1.test").wait()
    assert server.config.mailbox("user@d1.test").files() == []


def test_who_refuses_it_at_the_release_puts_it_back_and_then_has_had_its_say(
    server: RelevoServer,
) -> None:
    program(
        server.config.path, "third", """echo '{"verdict": "reject", "text": "no, never"}' >&4"""
    )
    accepted = message_id(send(server))
    quarantine(server, "release", accepted)
    wait_for(lambda: listed(server)[0]["by"] == "third", what="the message to come back")
    (entry,) = listed(server)
    assert "no, never" in entry["reason"]
    assert entry["passed"] == ["first", "second", "third"]
    quarantine(server, "release", accepted)
    server.config.mailbox("user@d1.test").wait()


def test_who_fails_at_the_release_is_asked_again(server: RelevoServer) -> None:
    program(server.config.path, "third", "exit 3")
    accepted = message_id(send(server))
    quarantine(server, "release", accepted)
    wait_for(lambda: "451" in str(listed(server)[0].get("detail")), what="the hook to be asked")
    assert listed(server)[0]["released"] is True
    program(server.config.path, "third", ":")
    quarantine(server, "release", accepted)
    server.config.mailbox("user@d1.test").wait()


def test_it_survives_the_end_of_the_server_and_what_is_dropped_is_gone(
    server: RelevoServer,
) -> None:
    kept, dropped = message_id(send(server)), message_id(send(server))
    quarantine(server, "drop", dropped, "--yes")
    server.process.popen.kill()
    server.process.popen.wait()
    server.start()
    assert [entry["id"] for entry in listed(server)] == [kept]
    quarantine(server, "release", kept)
    server.config.mailbox("user@d1.test").wait()


def test_beyond_its_bounds_the_client_is_to_come_again(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, HOOKS + "\n[quarantine]\nmax_messages = 1\n")
    for name in ("first", "third"):
        program(server.config.path, name, ":")
    program(server.config.path, "second", f"echo '{QUARANTINE}' >&4")
    assert send(server).code == 250
    refused = send(server)
    assert refused.code == 452
    assert "4.3.1 The quarantine is full" in refused.text
    assert len(listed(server)) == 1
