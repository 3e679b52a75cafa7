"""Functions of a file as hooks: what they get, and what becomes of what they return or raise."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from relevo.hook.runner import NoHook, answer, load_file

CONTEXT = {
    "stage": "post-data",
    "message_id": "id1",
    "client": {"ip": "192.0.2.7", "port": 25, "hello_name": "c"},
    "reverse_path": "a@r.test",
    "forward_paths": ["user@d1.test"],
}


def load(folder: Path, text: str) -> ModuleType:
    path = folder / "spam.py"
    path.write_text(f"from relevo.hook import *\n{text}\n")
    return load_file(str(path))


def said(module: ModuleType, stage: str = "post-data", octets: bytes = b"A: b\n\nx\n") -> object:
    context = {**CONTEXT, "stage": stage}
    if stage == "mail":
        context = {**context, "listener": "SMTP"}
        del context["message_id"], context["forward_paths"]
    told = asyncio.run(answer(module, json.dumps(context).encode(), octets))
    return json.loads(msgspec.json.encode(told))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("async def post_data(message, context): pass", {}, id="none"),
        pytest.param(
            "def post_data(message, context): return PostDataVerdict(tags=[context.message_id])",
            {"tags": ["id1"]},
            id="plain-function",
        ),
        pytest.param(
            "async def post_data(message, context): raise Reject('no', code=550)",
            {"verdict": "reject", "text": "no", "code": 550},
            id="reject",
        ),
        pytest.param(
            "def post_data(message, context): raise TempFail('later', enhanced='4.2.0')",
            {"verdict": "tempfail", "text": "later", "enhanced": "4.2.0"},
            id="tempfail",
        ),
        pytest.param(
            "async def post_data(m, context): return {'tags': [m.body.decode().strip()]}",
            {"tags": ["x"]},
            id="dictionary",
        ),
    ],
)
def test_what_a_function_says(tmp_path: Path, text: str, expected: object) -> None:
    assert said(load(tmp_path, text)) == expected


def test_other_stages_get_the_context_alone(tmp_path: Path) -> None:
    text = "async def mail(context): return MailVerdict(sender=context.reverse_path)"
    assert said(load(tmp_path, text), "mail") == {"sender": "a@r.test"}


def test_a_stage_without_function_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(NoHook, match="has no function mail"):
        said(load(tmp_path, "async def post_data(message, context): pass"), "mail")


def test_a_file_may_import_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "hook_neighbour.py").write_text("WORD = 'near'")
    text = "import hook_neighbour\ndef post_data(m, c): return {'tags': [hook_neighbour.WORD]}"
    assert said(load(tmp_path, text)) == {"tags": ["near"]}


def test_a_file_that_is_no_python_file(tmp_path: Path) -> None:
    (tmp_path / "hook.txt").write_text("")
    with pytest.raises(NoHook, match=r"must end in \.py"):
        load_file(str(tmp_path / "hook.txt"))
