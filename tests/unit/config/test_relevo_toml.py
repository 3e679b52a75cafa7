"""relevo.toml and --set: values of every kind, and every way to get one wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.config.relevo_toml import read_overrides, read_relevo_toml
from relevo.config.settings import Reading


def read(text: str) -> Reading:
    return read_relevo_toml(text.encode(), "relevo.toml")


def values(reading: Reading) -> dict[str, Any]:
    assert not reading.problems
    return {setting.key.name: setting.value for setting in reading.settings}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('hostname = "mx.test"', "hostname", "mx.test"),
        ('data_dir = "data"', "data_dir", Path("data")),
        ('[listen]\nsmtp = ["a:1", ":2"]', "listen.smtp", ("a:1", ":2")),
        ('listen.smtp = ":25"', "listen.smtp", (":25",)),
        ("listen = { smtp = [] }", "listen.smtp", ()),
        ("[smtp]\nbinarymime = true", "smtp.binarymime", True),
        ("[limits]\nrecipients = 1_000", "limits.recipients", 1000),
        ('[smtp]\nmax_message_size = "10MB"', "smtp.max_message_size", 10_000_000),
        ("[smtp]\nmax_message_size = 2048", "smtp.max_message_size", 2048),
        ('[queue]\ngive_up_after = "2d"', "queue.give_up_after", timedelta(days=2)),
        ("[queue]\nmin_free_space = 0", "queue.min_free_space", 0.0),
        ('[log]\nlevel = "debug"', "log.level", "debug"),
    ],
)
def test_values_are_taken(text: str, key: str, value: Any) -> None:
    assert values(read(text)) == {key: value}


def test_an_empty_file_sets_nothing() -> None:
    assert values(read("")) == {}


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        pytest.param("a = 1", 1, "a", "no such key", id="unknown-top"),
        pytest.param("\n[foo]\na = 1", 2, "foo", "no such table", id="unknown-table"),
        pytest.param("[smtp]\n\nx = 1", 3, "smtp.x", "no such key", id="unknown-in-table"),
        pytest.param("listen = 5", 1, "listen", "is a table", id="value-for-table"),
        pytest.param("[hostname]", 1, "hostname", "a table is not a text", id="table-for-value"),
        pytest.param("hostname = 5", 1, "hostname", "5 is not a text", id="number-for-text"),
        pytest.param('hostname = "\\u0000"', 1, "hostname", "NUL", id="nul"),
        pytest.param('data_dir = ""', 1, "data_dir", "empty", id="empty-path"),
        pytest.param("listen.smtp = [25]", 1, "listen.smtp", "list of texts", id="number-in-list"),
        pytest.param('smtp.dsn = "yes"', 1, "smtp.dsn", "neither true nor false", id="flag"),
        pytest.param(
            "limits.recipients = true", 1, "limits.recipients", "true is not an", id="flag-for-int"
        ),
        pytest.param("limits.recipients = 1.0", 1, "limits.recipients", "not an", id="float"),
        pytest.param("limits.recipients = 0", 1, "limits.recipients", "too small", id="small"),
        pytest.param("server.workers = 257", 1, "server.workers", "too large", id="large"),
        pytest.param(
            "limits.recipients = 9223372036854775808", 1, "limits.recipients", "64 bits", id="huge"
        ),
        pytest.param(
            'smtp.max_message_size = "10M"', 1, "smtp.max_message_size", "not a size", id="size"
        ),
        pytest.param(
            "smtp.max_message_size = -1", 1, "smtp.max_message_size", "-1 is too", id="negative"
        ),
        pytest.param("server.grace = 30", 1, "server.grace", "not a duration", id="no-unit"),
        pytest.param('server.grace = "2d"', 1, "server.grace", "too large", id="long"),
        pytest.param('log.level = "warn"', 1, "log.level", "no choice", id="choice"),
        pytest.param('profile = "postfix"', 1, "profile", "no choice", id="profile"),
        pytest.param(
            "queue.min_free_space = true", 1, "queue.min_free_space", "number", id="share"
        ),
        pytest.param("queue.min_free_space = nan", 1, "queue.min_free_space", "number", id="nan"),
        pytest.param("a = 1\nb = \n", 2, "", "not TOML", id="syntax"),
        pytest.param("a = 1\na = 2\n", 2, "", "not TOML", id="key-twice"),
        pytest.param('a = 1\nb = "', 2, "", "not TOML", id="end-of-document"),
        pytest.param("x = " + "[" * 5000, 0, "", "nested too deep", id="nesting"),
        pytest.param("x = " + "1" * 5000, 0, "", "number is too long", id="endless-number"),
    ],
)
def test_errors_name_line_and_key(text: str, line: int, key: str, part: str) -> None:
    (problem,) = read(text).problems
    assert (problem.file, problem.line, problem.key) == ("relevo.toml", line, key)
    assert part in problem.text


def test_a_text_without_its_end_is_told_from_other_syntax_errors() -> None:
    (problem,) = read('hostname = "mx.d1.test\nserver.workers = 1\n').problems
    assert (problem.line, problem.hint) == (1, "is the closing quote missing?")


def test_a_file_that_is_not_utf_8_is_named_with_its_line() -> None:
    (problem,) = read_relevo_toml(b'a = 1\nb = "\xff"', "relevo.toml").problems
    assert (problem.line, problem.text) == (2, "the file is not UTF-8")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("hostnam = 1", "did you mean hostname?"),
        ("[queue]\nmax_mesages = 1", "did you mean queue.max_messages?"),
        ("[smtp]\nrecipients = 1", "did you mean limits.recipients?"),
        ("max_message_size = 1", "did you mean smtp.max_message_size?"),
        ("[limit]\nrecipients = 1", "did you mean [limits]?"),
        ('smtp_address = ":25"', "chasquid's smtp_address is listen.smtp here"),
        ("zzzzzzzz = 1", ""),
        ('log.level = "warn"', "did you mean warning? one of debug, info, warning, error"),
    ],
)
def test_hints_name_what_was_meant(text: str, hint: str) -> None:
    (problem,) = read(text).problems
    assert problem.hint == hint


def test_all_problems_are_found() -> None:
    reading = read('foo = 1\nhostname = "mx.test"\n[smtp]\ndsn = 1\nx = 2')
    assert [problem.line for problem in reading.problems] == [1, 4, 5]
    assert [setting.origin for setting in reading.settings] == ["relevo.toml:2"]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        pytest.param("listen.smtp=127.0.0.1:2525", ("127.0.0.1:2525",), id="one-for-list"),
        pytest.param('listen.smtp=["a:1", "b:2"]', ("a:1", "b:2"), id="list"),
        pytest.param("listen.smtp=[]", (), id="empty-list"),
        pytest.param("hostname=mx.test", "mx.test", id="bare-text"),
        pytest.param('hostname="mx.test"', "mx.test", id="quoted-text"),
        pytest.param("hostname=2525", "2525", id="text-like-a-number"),
        pytest.param("hostname=true", "true", id="text-like-a-flag"),
        pytest.param("hostname=1\nx=2", "1\nx=2", id="no-second-key"),
        pytest.param("data_dir=/srv/=x", Path("/srv/=x"), id="equals-in-value"),
        pytest.param("smtp.dsn=false", False, id="flag"),
        pytest.param("limits.recipients=7", 7, id="integer"),
        pytest.param("smtp.max_message_size=10MB", 10_000_000, id="size"),
        pytest.param("smtp.max_message_size=4096", 4096, id="size-in-octets"),
        pytest.param("server.grace=1s", timedelta(seconds=1), id="duration"),
        pytest.param("server.grace=1h30m", timedelta(minutes=90), id="two-units"),
        pytest.param("addresses.suffix_separators=", "", id="empty"),
        pytest.param("addresses.suffix_separators=+#", "+#", id="no-comment"),
        pytest.param(" server.workers = 2 ", 2, id="blanks"),
        pytest.param("queue.min_free_space=0.1", 0.1, id="share"),
    ],
)
def test_an_override_is_toml_or_plain_text(override: str, value: Any) -> None:
    (setting,) = read_overrides([override]).settings
    assert setting.value == value
    assert setting.origin == "--set"


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("hostname", "--set: 'hostname' has no = (write KEY=VALUE)"),
        ("hostnam=x", "--set: hostnam: there is no such key (did you mean hostname?)"),
        ("listen=x", "--set: listen: there is no such key"),
        ("limits.recipients=x", "--set: limits.recipients: 'x' is not an integer"),
        ("limits.recipients=0", "--set: limits.recipients: 0 is too small (at least 1)"),
        (f"server.workers={'1' * 5000}", "--set: server.workers: '111"),
        ("server.workers=[1]", "--set: server.workers: [1] is not an integer"),
    ],
)
def test_a_bad_override_is_named(override: str, text: str) -> None:
    (problem,) = read_overrides([override]).problems
    assert str(problem).startswith(text)
