"""Declared hooks at the stages that are asked in one way, with real programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relevo.config import load
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Client, Refuse, Stage
from relevo.hooks.contract.contexts import AttemptContext, MailContext, TriedRecipient
from relevo.hooks.stages import DELIVERY_STAGES, SESSION_STAGES, StageHooks, StageOutcome
from unit.hooks.conftest import MakeSite, Site

MAIL = MailContext(
    client=Client("192.0.2.7", 4711, "cli"), listener="SMTP", reverse_path="a@r.test", tags=("old",)
)
DELIVERED = AttemptContext(
    stage="delivered",
    message_id="id1",
    reverse_path="a@r.test",
    route="local",
    recipients=(TriedRecipient("user@d1.test", "mail", "user@d1.test"),),
)


def declared(*names: str, stage: str = "mail", more: str = "") -> str:
    return "".join(
        f'[[hook]]\nstage = "{stage}"\ntarget = "{name}"\ntimeout = "2s"\n{more}\n'
        for name in names
    )


def write(site: Site, name: str, text: str) -> None:
    path = site.path / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def hooks(site: Site) -> StageHooks:
    found = StageHooks.for_stages(Caller(site.config, site.sockets), Stage)
    assert found is not None
    return found


async def ask(site: Site) -> StageOutcome:
    return await hooks(site).ask(MAIL)


async def test_a_hook_is_told_the_context_and_an_empty_standard_input(make_site: MakeSite) -> None:
    site = make_site(declared("one"))
    write(site, "one", f"cat <&3 > {site.path}/told; wc -c > {site.path}/input; env | sort >&2")
    outcome = await ask(site)
    told = json.loads((site.path / "told").read_text())
    assert told["stage"] == "mail"
    assert told["reverse_path"] == "a@r.test"
    assert told["client"]["ip"] == "192.0.2.7"
    assert (site.path / "input").read_text().strip() == "0"
    assert outcome.refusal is None
    (record,) = outcome.records
    assert (record.stage, record.hook, record.verdict) == ("mail", "one", "accept")
    assert "MAIL_FROM" not in record.stderr


async def test_hooks_see_what_those_before_them_changed(make_site: MakeSite) -> None:
    site = make_site(declared("one", "two"))
    write(site, "one", """echo '{"sender": "b@r.test", "tags": ["new"]}' >&4""")
    write(site, "two", f"""cat <&3 > {site.path}/told; echo '{{"tags": ["last"]}}' >&4""")
    outcome = await ask(site)
    told = json.loads((site.path / "told").read_text())
    assert told["reverse_path"] == "b@r.test"
    assert told["tags"] == ["old", "new"]
    assert outcome.changes.reverse_path == "b@r.test"
    assert outcome.changes.tags == ("new", "last")


async def test_the_first_refusal_ends_the_stage(make_site: MakeSite) -> None:
    site = make_site(declared("one", "two"))
    write(site, "one", """echo '{"verdict": "reject", "code": 553, "text": "no"}' >&4""")
    write(site, "two", f"touch {site.path}/called")
    outcome = await ask(site)
    assert outcome.refusal == Refuse(553, "5.7.1", "no")
    assert not (site.path / "called").exists()
    assert [record.verdict for record in outcome.records] == ["reject"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("sleep 60", "did not end within", id="hangs"),
        pytest.param("kill -9 $$", "signal 9", id="crashes"),
        pytest.param("exit 3", "exit status 3", id="status"),
        pytest.param("echo garbage >&4", "not a verdict", id="garbage"),
        pytest.param("head -c 1000000 /dev/zero >&4", "too much", id="floods"),
    ],
)
async def test_a_failure_is_what_on_error_says(make_site: MakeSite, text: str, reason: str) -> None:
    site = make_site(
        declared("one").replace("2s", "500ms")
        + declared("two", more='on_error = "accept"', stage="rcpt")
    )
    write(site, "one", text)
    outcome = await ask(site)
    assert outcome.refusal == Refuse(451, "4.7.1", "Temporary policy failure, try again later")
    (record,) = outcome.records
    assert reason in record.reason


async def test_on_error_accept(make_site: MakeSite) -> None:
    site = make_site(declared("one", more='on_error = "accept"'))
    write(site, "one", "exit 1")
    outcome = await ask(site)
    assert outcome.refusal is None
    assert outcome.records[0].reason == "exit status 1"


async def test_a_failure_after_delivery_means_nothing(make_site: MakeSite) -> None:
    site = make_site(declared("one", stage="delivered", more='on_error = "reject"'))
    write(site, "one", "exit 1")
    outcome = await hooks(site).ask(DELIVERED)
    assert outcome.refusal is None
    assert not outcome.is_dropped
    (record,) = outcome.records
    assert (record.message_id, record.verdict, record.reason) == ("id1", "accept", "exit status 1")


async def test_a_missing_program_fails(make_site: MakeSite) -> None:
    site = make_site(declared("nowhere"))
    outcome = await ask(site)
    assert outcome.refusal is not None
    assert "No such file" in outcome.records[0].reason


def test_files_are_asked_only_at_the_stages_of_contract_v1(site: Site) -> None:
    site.write("mail", "exit 20")
    caller = Caller(site.config, site.sockets)
    assert caller.programs.of(Stage.MAIL) == []
    assert StageHooks.for_stages(caller, SESSION_STAGES) is None


def test_none_is_asked_where_none_is_declared(make_site: MakeSite) -> None:
    site = make_site(declared("one"))
    caller = Caller(site.config, site.sockets)
    found = StageHooks.for_stages(caller, SESSION_STAGES)
    assert found is not None
    assert found.has(Stage.MAIL)
    assert not found.has(Stage.RCPT)
    assert StageHooks.for_stages(caller, DELIVERY_STAGES) is None


def test_every_stage_can_be_declared(tmp_path: Path) -> None:
    names = [stage.value for stage in Stage]
    text = "".join(f'[[hook]]\nstage = "{name}"\ntarget = "t"\n' for name in names)
    (tmp_path / "relevo.toml").write_text(f'hostname = "mx.test"\n{text}')
    assert [hook.stage for hook in load(tmp_path).hook] == names
