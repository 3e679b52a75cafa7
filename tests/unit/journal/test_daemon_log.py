"""Lines that chasquid's fail2ban filter must find."""

from __future__ import annotations

import re

import pytest

from relevo.journal.daemon_log import (
    http_command_line,
    session_error_line,
    too_many_errors_line,
)

# The filter that chasquid ships, with fail2ban's <ADDR> as what fail2ban makes of it.
FAIL2BAN = re.compile(
    r"SMTP.Conn \[?(?P<addr>[0-9a-f.:]+?)\]?:\d+: error:"
    r".*((AUTH|MAIL|RCPT|DATA) failed|Unknown command|too many errors|http command)"
)


@pytest.mark.case("C20")
@pytest.mark.parametrize(
    ("line", "address"),
    [
        (session_error_line("1.2.3.4:99", "RCPT", 503, "5.7.1 Relay not allowed"), "1.2.3.4"),
        (session_error_line("[2001:db8::1]:99", "AUTH", 535, "5.7.8 x"), "2001:db8::1"),
        (
            session_error_line("1.2.3.4:99", 'unknown<"XYZ">', 500, "5.5.1 Unknown command"),
            "1.2.3.4",
        ),
        (too_many_errors_line("1.2.3.4:99"), "1.2.3.4"),
        (http_command_line("1.2.3.4:99"), "1.2.3.4"),
    ],
)
def test_fail2ban_finds_the_address(line: str, address: str) -> None:
    match = FAIL2BAN.search(line)
    assert match is not None
    assert match["addr"] == address


def test_code_and_text_are_two_blanks_apart() -> None:
    line = session_error_line("1.2.3.4:99", "RCPT", 503, "5.7.1 Relay not allowed")
    assert line == "SMTP.Conn 1.2.3.4:99: error: RCPT failed: 503  5.7.1 Relay not allowed"


def test_text_cannot_make_a_line_of_its_own() -> None:
    assert "\n" not in session_error_line("1.2.3.4:99", "A\nB", 500, "x\nSMTP.Conn 9.9.9.9:1")
