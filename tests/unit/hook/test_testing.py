"""The fixture for authors of hooks: each form, what may be changed, and what is a failure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relevo.hook import (
    HeaderField,
    Message,
    PostDataContext,
    PostDataVerdict,
    RcptContext,
    Reject,
    Settings,
    settings,
)
from relevo.hook.testing import HookFailed, RunHook

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "hooks"
EXEC = f"#!{sys.executable}\n"


class Words(Settings, frozen=True):
    word: str = "lottery"


async def post_data(message: Message, context: PostDataContext) -> PostDataVerdict | None:
    if settings(Words).word.encode() in message.body:
        raise Reject("no")
    return PostDataVerdict(tags=[context.client.ip, *context.forward_paths])


def rcpt(context: RcptContext) -> dict[str, list[str]]:
    return {"tags": [context.forward_path]}


def program(folder: Path, text: str, name: str = "hook") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_function_by_its_name(run_hook: RunHook) -> None:
    assert run_hook(rcpt, forward_path="a@b.test").tags == ["a@b.test"]
    said = run_hook(post_data, "A: b\r\n\r\nthe lottery\r\n")
    assert (said.verdict, said.text) == ("reject", "no")


def test_parts_of_the_context_can_be_changed(run_hook: RunHook) -> None:
    said = run_hook(post_data, client={"ip": "198.51.100.1"}, forward_paths=("x@y.test",))
    assert said.tags == ["198.51.100.1", "x@y.test"]


def test_settings_hold_for_the_call(run_hook: RunHook) -> None:
    message = b"A: b\n\nsoap\n"
    assert run_hook(post_data, message, settings={"word": "soap"}).verdict == "reject"
    assert run_hook(post_data, message).verdict == "accept"


def test_a_python_file_in_a_process_of_its_own(run_hook: RunHook, tmp_path: Path) -> None:
    path = tmp_path / "spam.py"
    path.write_text((EXAMPLES / "spam.py").read_text())
    said = run_hook(path, "Subject: act now: the lottery\n\nx\n", auth="")
    assert said.verdict == "reject"
    said = run_hook(path, "Subject: hello\n\nx\n")
    assert said.add_headers == [HeaderField("X-Spam-Score", "0")]


def test_programs_of_contract_v2(run_hook: RunHook, tmp_path: Path) -> None:
    said = run_hook(EXAMPLES / "mark-external.py", "Subject: hi\n\nx\n", form="exec")
    assert said.replace_headers == [HeaderField("Subject", "[external] hi")]
    shell = program(
        tmp_path,
        '#!/bin/sh\necho "$1 $PWD" >&2\ncat > seen\necho \'{"tags": ["t"]}\' >&4\n',
    )
    assert run_hook(shell, b"A: b\n\nx\n", arguments=["one"]).tags == ["t"]
    assert run_hook.stderr == f"one {tmp_path}\n"
    assert (tmp_path / "seen").read_bytes() == b"A: b\n\nx\n"


def test_a_worker(run_hook: RunHook) -> None:
    (run_hook.folder / "blocked").write_text("192.0.2.0/24\n")
    hook = EXAMPLES / "block-networks.py"
    said = run_hook(hook, form="worker", stage="connect", arguments=["blocked"])
    assert said.verdict == "reject"
    said = run_hook(
        hook, form="worker", stage="connect", arguments=["blocked"], client={"ip": "198.51.100.1"}
    )
    assert said.verdict == "accept"


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        pytest.param("import os; os.kill(os.getpid(), 11)", "exec", "signal 11", id="crash"),
        pytest.param("import sys; sys.exit('bad luck')", "exec", "status is 1; it wrote: bad luck"),
        pytest.param("import time; time.sleep(60)", "exec", "killed", id="slow"),
        pytest.param("import time; time.sleep(60)", "worker", "not answered", id="slow-worker"),
        pytest.param("import os; os.write(4, b'{\"tag\": 1}')", "exec", "unknown field `tag`"),
        pytest.param("import os; os.write(4, b'{\"code\": 250, \"verdict\": \"reject\"}')", "exec",
                     "code 250 does not go with reject"),
        pytest.param("print('hello')", "worker", "it answers b'hello", id="no-json"),
    ],
)  # fmt: skip
def test_what_the_server_takes_for_a_failure(
    run_hook: RunHook, tmp_path: Path, text: str, form: str, words: str
) -> None:
    hook = program(tmp_path, f"{EXEC}{text}\n")
    with pytest.raises(HookFailed, match=words):
        run_hook(hook, form=form, timeout_s=0.5)  # type: ignore[arg-type] # from the table


def test_an_exception_of_a_function_is_the_test_s_own(run_hook: RunHook) -> None:
    def post_data(_message: Message, _context: PostDataContext) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_hook(post_data)


def test_a_function_that_is_named_for_no_stage(run_hook: RunHook) -> None:
    with pytest.raises(HookFailed, match="there is no stage 'judge'"):
        run_hook(lambda _context: None, stage="judge")
