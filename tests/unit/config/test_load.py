"""From files to one Config: what wins over what, and all that is refused, with its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load
from relevo.config.load import MAX_FILE_SIZE
from relevo.config.profiles import Profile
from relevo.config.units import DURATION_HINT


def name_of_the_machine(profile: Profile) -> str:
    return {Profile.RELEVO: "full.example.org", Profile.CHASQUID: "short"}[profile]


def loaded(
    directory: Path,
    relevo: str | None = None,
    chasquid: str | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    if relevo is not None:
        (directory / "relevo.toml").write_text(relevo)
    if chasquid is not None:
        (directory / "chasquid.conf").write_text(chasquid)
    return load(directory, overrides, hostname=name_of_the_machine)


def refusal(
    directory: Path,
    relevo: str | None = None,
    chasquid: str | None = None,
    overrides: Sequence[str] = (),
) -> list[str]:
    """The problems' lines, without the directory."""
    with pytest.raises(ConfigErrors) as caught:
        loaded(directory, relevo, chasquid, overrides)
    return str(caught.value).replace(f"{directory}/", "").split("\n")


def test_an_empty_relevo_toml_is_the_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, relevo="")
    assert config == Config(
        config_dir=tmp_path,
        source=(str(tmp_path / "relevo.toml"),),
        hostname="full.example.org",
    )


@pytest.mark.case("C1")
def test_an_empty_chasquid_conf_is_chasquids_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, chasquid="")
    assert config.profile == "chasquid"
    assert config.hostname == "short"
    assert config.data_dir == Path("/var/lib/chasquid")
    assert config.listen.smtp == config.listen.submission == ("systemd",)
    assert config.listen.submission_tls == ("systemd",)
    assert config.smtp.max_message_size == 50 * 1024 * 1024
    assert config.delivery.local == "mda"
    assert config.delivery.mda_command == "maildrop"
    assert config.delivery.mda_arguments == ("-f", "%from%", "-d", "%to_user%")
    assert config.addresses.suffix_separators == "+"
    assert config.addresses.drop_characters == "."
    assert config.mail_log.path == "syslog"
    assert config.queue.give_up_after == timedelta(hours=20)
    assert config.queue.max_messages == 1_000_000


@pytest.mark.case("C3")
def test_a_negative_size_is_the_default(tmp_path: Path) -> None:
    config = loaded(tmp_path, chasquid="max_data_size_mb: -5")
    assert config.smtp.max_message_size == 50 * 1024 * 1024


@pytest.mark.case("C5")
def test_empty_separators_differ_from_absent_ones(tmp_path: Path) -> None:
    assert loaded(tmp_path, chasquid='suffix_separators: ""').addresses.suffix_separators == ""


def test_relevo_toml_wins_over_chasquid_conf_and_overrides_over_both(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        relevo='hostname = "b.test"\n[queue]\nmax_messages = 2\n[limits]\nrecipients = 7',
        chasquid='hostname: "a.test"\nmax_queue_items: 1\nsuffix_separators: "-"',
        overrides=["queue.max_messages=3", "queue.max_messages=4"],
    )
    assert config.profile == "chasquid"
    assert config.hostname == "b.test"
    assert config.queue.max_messages == 4
    assert config.limits.recipients == 7
    assert config.addresses.suffix_separators == "-"
    assert config.source == (str(tmp_path / "chasquid.conf"), str(tmp_path / "relevo.toml"))
    assert config.origins["hostname"] == f"{tmp_path}/relevo.toml:1"
    assert config.origins["queue.max_messages"] == "--set"
    assert config.origins["addresses.suffix_separators"] == f"{tmp_path}/chasquid.conf:3"
    assert config.origins["delivery.local"] == "profile chasquid"
    assert config.origins["limits.errors"] == "default"


def test_a_profile_that_is_set_counts(tmp_path: Path) -> None:
    config = loaded(tmp_path, relevo='profile = "relevo"', chasquid="")
    assert (config.profile, config.listen.smtp) == ("relevo", (":25",))
    config = loaded(tmp_path, overrides=["profile=chasquid"])
    assert (config.profile, config.listen.smtp) == ("chasquid", ("systemd",))


def test_relative_paths_start_at_the_config_directory(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        relevo="""
            data_dir = "data"
            [delivery]
            local = "maildir:mail/{domain}/{user}"
            mda_command = "./mda"
            [log]
            file = "daemon.log"
            [mail_log]
            path = "log/mail"
            [auth]
            dovecot_userdb_path = "u"
        """,
    )
    assert config.data_dir == tmp_path / "data"
    assert config.delivery.local == f"maildir:{tmp_path}/mail/{{domain}}/{{user}}"
    assert config.delivery.mda_command == f"{tmp_path}/mda"
    assert config.log.file == f"{tmp_path}/daemon.log"
    assert config.mail_log.path == f"{tmp_path}/log/mail"
    assert config.auth.dovecot_userdb_path == f"{tmp_path}/u"


def test_the_config_directory_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "relevo.toml").touch()
    monkeypatch.chdir(tmp_path)
    config = load(Path("conf"), ["data_dir=d"])
    assert config.config_dir == tmp_path / "conf"
    assert config.data_dir == tmp_path / "conf" / "d"


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"/none: there is no such config directory \("):
        load(tmp_path / "none")


def test_a_directory_without_files_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"neither .* \(create .*/relevo\.toml; it may be empty"):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").mkdir()
    assert refusal(tmp_path) == ["relevo.toml: the file cannot be read: Is a directory"]


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    text = "#" * (MAX_FILE_SIZE + 1)
    assert refusal(tmp_path, text) == ["relevo.toml: the file is larger than 1048576 octets"]


def test_the_problems_of_all_sources_are_told_in_order(tmp_path: Path) -> None:
    plan = "'PLAN' is no mechanism of this server (did you mean PLAIN?)"
    assert refusal(
        tmp_path,
        relevo='[smtp]\ndsn = 1\n[queue]\ngive_up_after = "2x"\n[auth]\nmechanisms = "PLAN"',
        chasquid='smtp_address: ""\nfoo: 1',
        overrides=["limits.errors=0"],
    ) == [
        "chasquid.conf:1: smtp_address: an empty listening address (to not listen, remove it)",
        "chasquid.conf:2: foo: there is no such key (chasquid has no key of this name)",
        "relevo.toml:2: smtp.dsn: 1 is neither true nor false (without quotes)",
        f"relevo.toml:4: queue.give_up_after: '2x' is not a duration ({DURATION_HINT})",
        f"relevo.toml:6: auth.mechanisms: {plan}",
        "--set: limits.errors: 0 is too small (at least 1)",
    ]


@pytest.mark.case("C2")
@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("\nfoo: 1", "chasquid.conf:2: foo: "),
        ('hostname: "a"\nhostname: "b"', "chasquid.conf:2: hostname: "),
        ('max_data_size_mb: "5"', "chasquid.conf:1: max_data_size_mb: "),
        ("dovecot_auth: yes", "chasquid.conf:1: dovecot_auth: "),
        ('#\n#\ngive_up_send_after: "2d"', "chasquid.conf:3: give_up_send_after: "),
    ],
)
def test_a_bad_chasquid_conf_is_refused(tmp_path: Path, text: str, start: str) -> None:
    (problem,) = refusal(tmp_path, chasquid=text)
    assert problem.startswith(start)


@pytest.mark.case("C8")
def test_an_empty_listening_address_is_refused(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, chasquid='submission_address: ":587"\nsmtp_address: ""')
    assert problem.startswith("chasquid.conf:2: smtp_address: an empty listening address")


def test_haproxy_incoming_trusts_anybody_as_chasquid_does_and_warns(tmp_path: Path) -> None:
    config = loaded(tmp_path, chasquid='hostname: "mx.test"\nhaproxy_incoming: true')
    assert config.proxy.trusted == ("0.0.0.0/0", "::/0")
    (warning,) = config.warnings
    assert (warning.line, warning.key) == (2, "haproxy_incoming")
    assert "from anybody" in warning.text


def test_haproxy_incoming_with_proxies_named_is_no_warning(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        chasquid='hostname: "mx.test"\nhaproxy_incoming: true',
        relevo='[proxy]\ntrusted = ["192.0.2.1"]',
    )
    assert config.listen.haproxy
    assert config.proxy.trusted == ("192.0.2.1/32",)
    assert not config.warnings


def test_monitoring_beyond_this_machine_needs_a_token(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, chasquid='#\nmonitoring_address: ":1099"')
    assert problem.startswith(
        "chasquid.conf:2: monitoring_address: :1099 can be reached from other machines"
    )
    assert "127.0.0.1:1099" in problem


@pytest.mark.parametrize("address", ["127.0.0.1:1099", "[::1]:1099", "localhost:1099", "systemd"])
def test_monitoring_on_this_machine_needs_none(tmp_path: Path, address: str) -> None:
    text = f'hostname = "mx.test"\n[listen]\nmonitoring = "{address}"'
    assert loaded(tmp_path, relevo=text).monitoring.token_file == ""


def test_monitoring_with_a_token_may_listen_anywhere(tmp_path: Path) -> None:
    text = (
        'hostname = "mx.test"\n[listen]\nmonitoring = ":1099"\n[monitoring]\ntoken_file = "secret"'
    )
    assert loaded(tmp_path, relevo=text).monitoring.token_file == str(tmp_path / "secret")


def test_scram_that_dovecot_cannot_check_is_a_warning(tmp_path: Path) -> None:
    text = 'hostname = "mx.test"\n[auth]\ndovecot = true\nmechanisms = ["PLAIN", "SCRAM-SHA-256"]'
    (warning,) = loaded(tmp_path, relevo=text).warnings
    assert (warning.line, warning.key) == (4, "auth.mechanisms")
    assert loaded(tmp_path, relevo=text.replace(', "SCRAM-SHA-256"', "")).warnings == ()


def test_a_name_without_a_dot_is_a_warning(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, chasquid="").warnings
    assert warning.key == "hostname"
    assert "'short' is not fully qualified" in warning.text


def test_dmarc_by_public_suffixes_needs_their_list(tmp_path: Path) -> None:
    text = (
        'hostname = "mx.test"\n[dmarc]\norganizational_domain = "public_suffix"\n'
        'public_suffix_list = "suffixes"\n'
    )
    (problem,) = refusal(tmp_path, relevo=text)
    assert problem.startswith("relevo.toml:4: dmarc.public_suffix_list: suffixes cannot be read")
    (tmp_path / "suffixes").write_text("test\n")
    assert loaded(tmp_path, relevo=text).dmarc.public_suffix_list == str(tmp_path / "suffixes")
