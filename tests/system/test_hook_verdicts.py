"""Verdicts about a whole message: discarded early, given fields."""

from __future__ import annotations

import json

import pytest

from harness.server import RelevoFactory
from harness.waiting import wait_for
from system.test_hook_stages import declared, message_id, program, rows, send, start


@pytest.mark.parametrize("stage", ["mail", "rcpt"])
def test_a_message_is_discarded_before_it_has_come(start_relevo: RelevoFactory, stage: str) -> None:
    server = start(start_relevo, declared((stage, "judge")))
    verdict = '{"verdict": "discard", "text": "unwanted"}'
    program(server.config.path, "judge", f"echo '{verdict}' >&4")
    accepted = message_id(send(server))
    wait_for(lambda: rows(server, accepted), what="the why record")
    (row,) = rows(server, accepted)
    assert (row["verdict"], row["reason"]) == ("discard", "unwanted")
    assert server.config.mailbox("user@d1.test").files() == []


def test_fields_of_mail_and_rcpt_stand_on_top(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, declared(("mail", "at-mail"), ("rcpt", "at-rcpt")))
    for name in ("at-mail", "at-rcpt"):
        verdict = json.dumps({"add_headers": [{"name": f"X-{name}", "value": "yes"}]})
        program(server.config.path, name, f"echo '{verdict}' >&4")
    assert send(server).code == 250
    (message,) = server.config.mailbox("user@d1.test").wait()
    head = message.replace(b"\r\n", b"\n").partition(b"Received:")[0]
    assert b"X-at-rcpt: yes\nX-at-mail: yes\n" in head
