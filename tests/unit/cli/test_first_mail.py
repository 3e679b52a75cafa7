"""Printed lines that send mail. That they do is shown by the system tests of the demo."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable

import pytest

from relevo.cli.first_mail import Login, send_line, submit_line

ADDRESS = "127.0.0.1:2525"
LOGIN = Login("127.0.0.1:4465", "demo@example.test", "s3cr$t'")


def having(*programs: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in programs else None


@pytest.mark.parametrize(
    ("programs", "first"),
    [(("swaks", "curl"), "swaks"), (("curl",), "printf"), ((), "python")],
    ids=["swaks", "curl", "python"],
)
def test_the_line_uses_a_program_that_is_there(programs: tuple[str, ...], first: str) -> None:
    line = send_line(ADDRESS, "demo@example.test", which=having(*programs))
    assert first in shlex.split(line)[0]
    assert "demo@example.test" in line
    assert "2525" in line


def test_the_curl_line_with_a_login_survives_a_shell() -> None:
    words = shlex.split(submit_line(LOGIN, "demo@example.test", which=having("curl")))
    assert "demo@example.test:s3cr$t'" in words
    assert "smtps://127.0.0.1:4465" in words


def test_the_python_line_with_a_login_survives_a_shell() -> None:
    *_, code = shlex.split(submit_line(LOGIN, "demo@example.test", which=having()))
    tree = ast.parse(code)
    values = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {"127.0.0.1", 4465, "demo@example.test", "s3cr$t'"} <= values


def test_no_line_has_what_an_interactive_shell_expands() -> None:
    for programs in ((), ("curl",), ("swaks",)):
        assert "!" not in send_line(ADDRESS, "a@b.test", which=having(*programs))
