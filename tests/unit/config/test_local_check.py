from __future__ import annotations

import socket
from pathlib import Path

import pytest

from relevo.config import Severity, check_local, load
from unit.config.pki import NOW, write_certificate


def said(config_dir: Path, text: str) -> list[str]:
    (config_dir / "relevo.toml").write_text(text)
    problems = check_local(load(config_dir), NOW)
    return [f"{p.severity.value} {p}".replace(f"{config_dir}/", "") for p in problems]


def test_a_complete_directory_has_no_problem(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    assert said(tmp_path, 'hostname = "mx.test"') == []


@pytest.mark.case("C8")
def test_an_empty_directory_lacks_certificates_and_domains(tmp_path: Path) -> None:
    first, second = said(tmp_path, 'hostname = "mx.test"')
    assert first.startswith("error certs: the folder of the certificates cannot be read")
    assert second.startswith("error domains: the folder of the local domains cannot be read")


def test_an_unknown_user_is_an_error_at_its_line(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    assert said(tmp_path, 'hostname = "mx.test"\n[server]\nuser = "no-such-user"') == [
        "error relevo.toml:3: server.user: there is no user 'no-such-user' on this machine"
    ]
    assert said(tmp_path, 'hostname = "mx.test"\n[server]\nuser = "root"') == []


def test_a_missing_mda_is_a_warning(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = 'hostname = "mx.test"\ndelivery = { local = "mda", mda_command = "/no/mda" }'
    (problem,) = said(tmp_path, text)
    assert problem.startswith("warning relevo.toml:2: delivery.mda_command: '/no/mda' is not a")
    assert said(tmp_path, text.replace("/no/mda", "sh")) == []


def test_a_placeholder_that_is_none_is_a_warning(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = """hostname = "mx.test"
        [delivery]
        local = "mda"
        mda_command = "sh"
        mda_arguments = ["-d", "%to_user%@%to_domain%", "%user%", "100%"]
    """
    (problem,) = said(tmp_path, text)
    assert problem.startswith(
        "warning relevo.toml:5: delivery.mda_arguments: %user% is handed over"
    )


def test_a_log_in_a_folder_that_is_not_there(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = 'hostname = "mx.test"\nlog.file = "/no/a.log"'
    assert said(tmp_path, text) == ["error relevo.toml:2: log.file: there is no folder /no"]
    assert said(tmp_path, text.replace("/no/", f"{tmp_path}/")) == []


def test_sockets_of_dovecot_that_are_not_there_are_warnings(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = """hostname = "mx.test"
        [auth]
        dovecot = true
        dovecot_userdb_path = "userdb"
        dovecot_client_path = "client"
        [delivery]
        local = "lmtp:./lmtp"
    """
    assert said(tmp_path, text) == [
        (
            "warning relevo.toml:4: auth.dovecot_userdb_path: there is no socket userdb; "
            "until it is there, logins and unknown recipients are put off"
        ),
        (
            "warning relevo.toml:5: auth.dovecot_client_path: there is no socket client; "
            "until it is there, logins and unknown recipients are put off"
        ),
        (
            "warning relevo.toml:7: delivery.local: there is no socket lmtp; "
            "until it is there, local mail waits"
        ),
    ]
    listeners = [bound(tmp_path / name) for name in ("userdb", "client", "lmtp")]
    assert said(tmp_path, text) == []
    for listener in listeners:
        listener.close()


def bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def test_a_value_without_a_line_is_named_at_the_first_file(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    (tmp_path / "relevo.toml").touch()
    config = load(tmp_path, ["hostname=mx.test", "server.user=no-such-user"])
    (problem,) = check_local(config, NOW)
    assert (problem.file, problem.line) == (str(tmp_path / "relevo.toml"), 0)
    assert problem.severity is Severity.ERROR


def test_a_token_for_monitoring_that_is_not_there(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = 'hostname = "mx.test"\nlisten.monitoring = ":1099"\nmonitoring.token_file = "token"'
    assert said(tmp_path, text) == [
        "error relevo.toml:3: monitoring.token_file: there is no file token"
    ]
    (tmp_path / "token").write_text("x")
    assert said(tmp_path, text) == []


def test_authorities_that_cannot_be_read(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = 'hostname = "mx.test"\n[outbound_tls]\nca_file = "ca.pem"'
    (problem,) = said(tmp_path, text)
    assert problem.startswith("error relevo.toml:3: outbound_tls.ca_file: ")
    (tmp_path / "ca.pem").write_text("no certificate")
    assert len(said(tmp_path, text)) == 1
    (tmp_path / "ca.pem").write_bytes((tmp_path / "certs/mx.test/fullchain.pem").read_bytes())
    assert said(tmp_path, text) == []


def test_domains_that_are_relayed(tmp_path: Path, domain: Path) -> None:
    write_certificate(tmp_path / "certs/mx.test")
    text = (
        'hostname = "mx.test"\n[[relay_domain]]\ndomain = "far.test"\nrecipients = "far.list"\n'
        f'[[relay_domain]]\ndomain = "{domain.name}"\n'
    )
    missing, ours = said(tmp_path, text)
    assert "there is no file far.list; recipients of far.test get 451" in missing
    assert ours.startswith("warning ")
    assert "is a domain of ours" in ours
    (tmp_path / "far.list").write_text("ada\n")
    assert len(said(tmp_path, text)) == 1
