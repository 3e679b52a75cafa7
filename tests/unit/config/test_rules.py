"""What values must be beyond their type."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import ConfigErrors, load


def problems(directory: Path, text: str) -> list[str]:
    """`line: key: text` of each problem of a relevo.toml; none when it is taken."""
    (directory / "relevo.toml").write_text(text)
    try:
        load(directory)
    except ConfigErrors as errors:
        return [f"{p.line}: {p.key}: {p.text}" for p in errors.problems]
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('hostname = "-x"', "1: hostname: '-x' is not a host name"),
        ('hostname = "a b"', "1: hostname: 'a b' is not a host name"),
        ('hostname = "[127.0.0.1]"', "1: hostname: '[127.0.0.1]' is not a host name"),
        ('listen.smtp = "25"', "1: listen.smtp: '25' has no port"),
        ('listen.smtp = ""', "1: listen.smtp: an empty listening address"),
        ('listen.monitoring = "x"', "1: listen.monitoring: 'x' has no port"),
        ("listen.haproxy = true", "1: listen.haproxy: no proxy is trusted"),
        ('xclient.trusted = "::/0"', "1: xclient.trusted: ::/0 would let anybody claim any"),
        ('proxy.trusted = "haproxy.lan"', "1: proxy.trusted: 'haproxy.lan' is no network"),
        ('auth.mechanisms = ["CRAM-MD5"]', "1: auth.mechanisms: 'CRAM-MD5' is no mechanism"),
        ('dns.servers = "ns.example.org"', "1: dns.servers: 'ns.example.org' is not the address"),
        ('dns.servers = "127.0.0.1:0"', "1: dns.servers: '127.0.0.1:0' is not the address"),
        ('dns.servers = ["systemd"]', "1: dns.servers: 'systemd' is not the address"),
        ('dns.servers = ["::1", "[::1"]', "1: dns.servers: '[::1' is not the address"),
        ('spf.skip_networks = "10.0.0.1/8"', "1: spf.skip_networks: '10.0.0.1/8' is no network"),
        ('spf.skip_networks = "localhost"', "1: spf.skip_networks: 'localhost' is no network"),
        ('postmaster = "a@b@"', "1: postmaster: 'a@b@' is not an address"),
        ('postmaster = "me"', "1: postmaster: 'me' is not an address"),
        ('addresses.suffix_separators = "@"', "1: addresses.suffix_separators: @ cannot be"),
        ('delivery.local = "lmtp"', "1: delivery.local: 'lmtp' is no way to deliver"),
        ('delivery.local = "lmtp:"', "1: delivery.local: '' is not where an LMTP server"),
        ('delivery.local = "lmtp::24"', "1: delivery.local: ':24' is not where an LMTP server"),
        ('delivery.local = "lmtp:a:0"', "1: delivery.local: 'a:0' is not where an LMTP server"),
        ('delivery.local = "lmtp:host"', "1: delivery.local: 'host' is not where an LMTP server"),
        ('delivery.local = "lmtp:systemd"', "1: delivery.local: 'systemd' is not where an LMTP"),
        ('delivery.local = "maildir:/m/{usr}"', "1: delivery.local: {usr} has no meaning"),
        ('delivery.local = "maildir:/m"', "1: delivery.local: the maildir pattern lacks {user}"),
        ('delivery.local = "maildir:/{user}{"', "1: delivery.local: the maildir pattern has a"),
        ('delivery.local = "maildir:../{user}"', "1: delivery.local: the maildir pattern has .."),
        ('delivery.mda_command = " "', "1: delivery.mda_command: the command is empty"),
        ('log.file = ""', "1: log.file: the file name is empty"),
        ('mail_log.path = ""', "1: mail_log.path: the file name is empty"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        'hostname = "mx.bücher.example"',
        'listen.smtp = ["127.0.0.1:0", "127.0.0.1:0"]',
        'listen.smtp = ["127.0.0.1:2525", "127.0.0.2:2525", "systemd"]',
        'listen = { smtp = ["systemd"], submission = ["systemd"] }',
        'auth.mechanisms = ["plain", "SCRAM-SHA-256"]',
        "auth.mechanisms = []",
        'postmaster = "admin@example.org"',
        'delivery.local = "discard"',
        'delivery.local = "lmtp:/run/dovecot/lmtp"',
        'delivery.local = "lmtp:[::1]:24"',
        'delivery.local = "maildir:/home/{user}/Maildir"',
        'mail_log = { path = "off", format = "plain" }',
    ],
)
def test_good_values_are_taken(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        pytest.param(
            'smtp = ":25"\nsubmission = ":25"',
            "3: listen.submission: :25 is already taken by listen.smtp",
            id="in-two-lists",
        ),
        pytest.param(
            'smtp = ["[::1]:25", "[::1]:25"]',
            "2: listen.smtp: [::1]:25 is already taken by listen.smtp",
            id="in-one-list",
        ),
        pytest.param(
            'smtp = ["127.0.0.1:25", ":25"]',
            "2: listen.smtp: :25 and 127.0.0.1:25 of listen.smtp exclude each other",
            id="with-and-without-host",
        ),
        pytest.param(
            'smtp = ["localhost:smtp", "localhost:25"]',
            "2: listen.smtp: localhost:25 is already taken by listen.smtp",
            id="by-service-name",
        ),
        pytest.param(
            'smtp = "127.0.0.1:25"\nmonitoring = "127.0.0.1:25"',
            "3: listen.monitoring: 127.0.0.1:25 is already taken by listen.smtp",
            id="monitoring",
        ),
        pytest.param(
            'smtp = ["systemd", "systemd"]',
            "2: listen.smtp: systemd stands more than once",
            id="systemd-twice",
        ),
        pytest.param(
            "smtp = []\nsubmission = []\nsubmission_tls = []",
            "2: listen.smtp: there is no address to listen on",
            id="nothing",
        ),
    ],
)
def test_addresses_must_go_together(tmp_path: Path, listen: str, expected: str) -> None:
    assert problems(tmp_path, f"[listen]\n{listen}") == [expected]


def test_a_broken_address_is_not_complained_about_twice(tmp_path: Path) -> None:
    assert problems(tmp_path, '[listen]\nsmtp = "x"\nsubmission = ":465"') == [
        "2: listen.smtp: 'x' has no port"
    ]


def test_several_domains_need_the_domain_in_the_pattern(tmp_path: Path) -> None:
    text = 'delivery.local = "maildir:/m/{user}"'
    for name in ("d1.test", "d2.test"):
        assert problems(tmp_path, text) == []
        (tmp_path / "domains" / name).mkdir(parents=True)
    assert problems(tmp_path, text) == [
        "1: delivery.local: the maildir pattern lacks {domain}, and there are 2 domains"
    ]


def test_mechanisms_are_upper_case_and_once(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text('auth.mechanisms = ["plain", "PLAIN", "Login"]')
    assert load(tmp_path).auth.mechanisms == ("PLAIN", "LOGIN")


def test_name_servers_have_their_port_and_stand_once(tmp_path: Path) -> None:
    servers = '["127.0.0.1", "127.0.0.1:53", "192.0.2.1:5353", "2001:DB8::53", "[::1]:54"]'
    (tmp_path / "relevo.toml").write_text(f"dns.servers = {servers}")
    expected = ("127.0.0.1:53", "192.0.2.1:5353", "[2001:db8::53]:53", "[::1]:54")
    assert load(tmp_path).dns.servers == expected


def test_networks_are_written_in_full_and_once(tmp_path: Path) -> None:
    networks = '["192.0.2.7", "192.0.2.7/32", "2001:DB8::/32", "0.0.0.0/0"]'
    (tmp_path / "relevo.toml").write_text(f"spf.skip_networks = {networks}")
    expected = ("192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0")
    assert load(tmp_path).spf.skip_networks == expected
