"""`[[route]]` and the rules of `[outbound]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load
from relevo.config.outbound_rules import parse_server


def loaded(folder: Path, text: str) -> Config:
    (folder / "relevo.toml").write_text(text)
    return load(folder, hostname=lambda _profile: "mx.test.example")


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        loaded(folder, text)
    return str(caught.value)


def test_a_route_is_read_with_its_paths_and_domains_in_final_form(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        '[[route]]\nrecipients = ["Bücher.test", "*.example.org"]\nservers = ["a.test:587"]\n'
        'credentials = "secret"\ntls = "encrypted"\n[[route]]\nsenders = "x.test"\n'
        'source_address = "192.0.2.1"\n',
    )
    first, second = config.route
    assert first.recipients == ("xn--bcher-kva.test", "*.example.org")
    assert (first.servers, first.tls) == (("a.test:587",), "encrypted")
    assert first.credentials == str(tmp_path / "secret")
    assert (second.senders, second.source_address) == (("x.test",), "192.0.2.1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[route]]\nservers = ["a:b:c"]\n', "does not name a server"),
        ('[[route]]\nrecipients = ["a b"]\n', "is no domain"),
        ('[[route]]\nservrs = ["a"]\n', "did you mean servers?"),
        ('[[route]]\ntls = "best"\n', "there are none"),
        ('[[route]]\nsource_address = "host"\n', "is no address"),
        ("route = 1\n", "not an array of tables"),
        ('[outbound]\nsmarthost = ["[::1"]\n', "does not name a server"),
        ('[outbound]\nsmarthost = ["a:0"]\n', "does not name a server"),
        ('[outbound]\nsource_addresses = ["192.0.2.1", "192.0.2.2"]\n', "more than one"),
        ('[outbound]\nsource_addresses = ["x"]\n', "x"),
        ('[outbound]\nallow_addresses = ["10.0.0.1/8"]\n', "is no network"),
        ('[outbound]\nhelo_name = "[1.2.3.4]"\n', "not a host name"),
        ("[queue]\nretry = []\n", "0 steps"),
        ('[queue]\nretry = ["5m", "1m"]\n', "is no step"),
        ('[queue]\nretry = ["soon"]\n', "soon"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a.test", "a.test", 0),
        ("a.test:25", "a.test", 25),
        ("[::1]:26", "::1", 26),
        ("[::1]", "::1", 0),
    ],
)
def test_servers(text: str, host: str, port: int) -> None:
    address = parse_server(text)
    assert (address.host, address.port) == (host, port)
