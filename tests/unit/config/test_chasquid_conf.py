"""chasquid.conf: where each key goes, and every way to get one wrong, with its line."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.config.chasquid_conf import RELEVO_NAMES, read_chasquid_conf
from relevo.config.settings import Reading

DIRECTORY = Path("/etc/chasquid")


def read(text: str | bytes) -> Reading:
    data = text.encode() if isinstance(text, str) else text
    return read_chasquid_conf(data, "chasquid.conf", DIRECTORY)


def settings(text: str) -> dict[str, Any]:
    reading = read(text)
    assert not reading.problems
    return {setting.key.name: setting.value for setting in reading.settings}


@pytest.mark.case("C1")
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_an_empty_file_sets_nothing(text: str) -> None:
    assert settings(text) == {}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('hostname: "mx.test"', "hostname", "mx.test"),
        ("max_data_size_mb: 10", "smtp.max_message_size", 10 * 1024 * 1024),
        ("max_data_size_mb: 0x10", "smtp.max_message_size", 16 * 1024 * 1024),
        ("max_data_size_mb: 010", "smtp.max_message_size", 8 * 1024 * 1024),
        ('smtp_address: ":25"', "listen.smtp", (":25",)),
        ('smtp_address: "a:1" smtp_address: "b:2"', "listen.smtp", ("a:1", "b:2")),
        ('submission_address: "systemd"', "listen.submission", ("systemd",)),
        ('submission_over_tls_address: ":465"', "listen.submission_tls", (":465",)),
        ('monitoring_address: "127.0.0.1:1099"', "listen.monitoring", "127.0.0.1:1099"),
        ('mail_delivery_agent_bin: "procmail"', "delivery.mda_command", "procmail"),
        ('data_dir: "/srv/mail"', "data_dir", Path("/srv/mail")),
        ('suffix_separators: "+-"', "addresses.suffix_separators", "+-"),
        ('drop_characters: "._"', "addresses.drop_characters", "._"),
        ('mail_log_path: "<syslog>"', "mail_log.path", "syslog"),
        ('mail_log_path: "<stdout>"', "mail_log.path", "stdout"),
        ('mail_log_path: "<stderr>"', "mail_log.path", "stderr"),
        ('mail_log_path: "/var/log/mail"', "mail_log.path", "/var/log/mail"),
        ('mail_log_path: "syslog"', "mail_log.path", "/etc/chasquid/syslog"),
        ("dovecot_auth: true", "auth.dovecot", True),
        ('dovecot_userdb_path: "/run/u"', "auth.dovecot_userdb_path", "/run/u"),
        ('dovecot_client_path: "/run/c"', "auth.dovecot_client_path", "/run/c"),
        ("haproxy_incoming: true", "listen.haproxy", True),
        ("max_queue_items: 500", "queue.max_messages", 500),
        ('give_up_send_after: "1h30m"', "queue.give_up_after", timedelta(minutes=90)),
    ],
)
def test_a_key_sets_its_relevo_key(text: str, key: str, value: Any) -> None:
    assert settings(text) == {key: value}


def test_every_key_of_chasquid_has_a_relevo_key() -> None:
    assert len(RELEVO_NAMES) == 18
    assert len(set(RELEVO_NAMES.values())) == 18


@pytest.mark.case("C3")
@pytest.mark.parametrize(
    "text",
    [
        "max_data_size_mb: -5",
        "max_data_size_mb: 0",
        "max_queue_items: 0",
        'hostname: ""',
        'data_dir: ""',
        'mail_log_path: ""',
        "dovecot_auth: false",
        "haproxy_incoming: f",
        'give_up_send_after: ""',
        'give_up_send_after: "0s"',
        'give_up_send_after: "-3h"',
        "smtp_address: []",
    ],
)
def test_zero_and_empty_values_mean_the_default(text: str) -> None:
    assert settings(text) == {}


@pytest.mark.case("C5")
@pytest.mark.parametrize("key", ["suffix_separators", "drop_characters"])
def test_an_empty_set_of_characters_is_a_value(key: str) -> None:
    assert settings(f'{key}: ""') == {f"addresses.{key}": ""}


@pytest.mark.case("C4")
def test_one_argument_replaces_all_defaults() -> None:
    assert settings('mail_delivery_agent_args: "-x"') == {"delivery.mda_arguments": ("-x",)}


@pytest.mark.case("C6")
def test_lists_quotes_comments_and_escapes_are_taken() -> None:
    text = r"""
        # addresses
        smtp_address: ["a:1", 'b:2'], ; smtp_address : "c:" "3"  # third
        suffix_separators:'\053\x2d'
    """.replace(", ;", ";")
    assert settings(text) == {
        "listen.smtp": ("a:1", "b:2", "c:3"),
        "addresses.suffix_separators": "+-",
    }


@pytest.mark.case("C2")
@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        pytest.param("\nfoo: 1", 2, "foo", "no such key", id="unknown"),
        pytest.param('hostname: "a"\nhostname: "b"', 2, "hostname", "line 1", id="twice"),
        pytest.param('hostname: ["a"]', 1, "hostname", "not a list", id="list-for-one"),
        pytest.param("hostname: mx", 1, "hostname", "not a string", id="without-quotes"),
        pytest.param("hostname { }", 1, "hostname", "not a string", id="message"),
        pytest.param('hostname: "\\xff"', 1, "hostname", "not UTF-8", id="not-utf-8"),
        pytest.param('hostname: "a\\0"', 1, "hostname", "NUL", id="nul"),
        pytest.param('max_data_size_mb: "5"', 1, "max_data_size_mb", "not an integer", id="text"),
        pytest.param("max_data_size_mb: 5.5", 1, "max_data_size_mb", "not an integer", id="5.5"),
        pytest.param(
            "max_data_size_mb: 9999999999", 1, "max_data_size_mb", "too large", id="huge-size"
        ),
        pytest.param("max_queue_items: -1", 1, "max_queue_items", "out of range", id="negative"),
        pytest.param(
            "max_queue_items: 4294967296", 1, "max_queue_items", "out of range", id="uint32"
        ),
        pytest.param("dovecot_auth: yes", 1, "dovecot_auth", "not a boolean", id="yes"),
        pytest.param('dovecot_auth: "true"', 1, "dovecot_auth", "not a boolean", id="true-text"),
        pytest.param(
            '#\ngive_up_send_after: "2d"', 2, "give_up_send_after", "not a duration", id="days"
        ),
        pytest.param("give_up_send_after: 20", 1, "give_up_send_after", "not a string", id="20"),
        pytest.param(
            'smtp_address: [":25",\n 25]', 2, "smtp_address", "not a string", id="inside-list"
        ),
        pytest.param('hostname "mx"', 1, "", "column 10: a colon is missing", id="syntax"),
    ],
)
def test_errors_name_line_and_key(text: str, line: int, key: str, part: str) -> None:
    (problem,) = read(text).problems
    assert (problem.file, problem.line, problem.key) == ("chasquid.conf", line, key)
    assert part in problem.text


def test_an_unknown_key_gets_the_nearest_name() -> None:
    (problem,) = read('submission_adress: ":587"').problems
    assert problem.hint == "did you mean submission_address?"


def test_all_problems_are_found_and_good_keys_kept() -> None:
    reading = read('foo: 1\nhostname: "mx.test"\nmax_queue_items: x\nbar: 2')
    assert [problem.line for problem in reading.problems] == [1, 4, 3]
    assert [setting.value for setting in reading.settings] == ["mx.test"]
    assert reading.settings[0].origin == "chasquid.conf:2"


@pytest.mark.needs_debian("chasquid")
@pytest.mark.parametrize(
    "text",
    [
        "",
        'hostname: "a" hostname: "b"',
        "smtp_address: [\"a:1\", 'b:2'], ",
        "suffix_separators:'\\053\\x2d'",
        "suffix_separators: '\\x4g'",
        "smtp_address: []",
        "hostname: []",
        'smtp_address: ["a:1",]',
        'smtp_address: "a" , smtp_address: "b";',
        'smtp_address ["a"]',
        'hostname "a"',
        'hostname: "a",,',
        'hostname: "a" /* x */',
        'hostname: "é" "b" # c',
        'hostname: "a\tb\x01"',
        'hostname: "\\?\\1234\\u00e9\\xc3\\xa9"',
        'hostname: "\\400"',
        'hostname: "\\xff"',
        'Hostname: "x"',
        "[x]: 1",
        "foo: 1",
        "dovecot_auth: yes",
        'dovecot_auth: "true"',
        "dovecot_auth: t",
        "dovecot_auth: 0x1",
        "dovecot_auth: 01",
        "dovecot_auth: 2",
        "max_data_size_mb: 010",
        "max_data_size_mb: 08",
        "max_data_size_mb: -0x5",
        "max_data_size_mb: - 5",
        'max_data_size_mb: "5"',
        "max_queue_items: 4294967296",
        "max_queue_items: -1",
        "max_queue_items: 1.0",
        "max_queue_items: 5f",
    ],
)
def test_the_same_files_are_taken_as_by_chasquid(tmp_path: Path, text: str) -> None:
    (tmp_path / "chasquid.conf").write_text(text)
    command = ("chasquid-util", f"-C={tmp_path}", "print-config")
    peer = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert (peer.returncode == 0) == (not read(text).problems), peer
