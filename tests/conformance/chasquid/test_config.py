"""An unchanged config directory: keys, certificates, users files, sockets (rows C1–C11, C16)."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import uuid
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conformance.chasquid.configdir import (
    USERS,
    ConfigDir,
    Domain,
)
from conformance.chasquid.dialogue import Client, plain
from conformance.chasquid.servers import (
    Column,
    Server,
    Settings,
    Sockets,
    StartRefused,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.chasquid.conftest import StartServer

NEWER = pytest.mark.newer_than_debian
DEFAULT_SIZE = 50 * 1024 * 1024


@pytest.fixture(scope="module")
def odd(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Everything a chasquid.conf may look like, in one: rows C3 to C7."""
    config = ConfigDir(
        tmp_path_factory.mktemp(f"odd-{column.value}"),
        domains={"d1.test": Domain(), "local.test": Domain()},
        keys={
            "hostname": "'mx.\\164est'  # octal for t",
            "max_data_size_mb": "-5,",
            "mail_delivery_agent_args": '"%to%"',
            "suffix_separators": '""',
            "smtp_address": None,
        },
    )
    second = config.submission[1]
    text = (config.path / "chasquid.conf").read_text().replace("submission_address:", "# dropped")
    text += f'smtp_address: [\'127.0.0.1:{config.smtp[1]}\', "127.0.0.1:"\n  "{second}"];\n'
    config.write_conf(text)
    incomplete = config.path / "certs" / "half.test"
    incomplete.mkdir()
    (incomplete / "fullchain.pem").write_bytes(b"")
    with running(Server(column, config)) as server:
        yield server


@pytest.mark.case("C1")
def test_empty_file_means_the_defaults(
    column: Column, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only what a test cannot do with is overridden: addresses, data folder, log."""
    config = ConfigDir(tmp_path_factory.mktemp(f"empty-{column.value}"))
    config.write_conf("")
    address = f"127.0.0.1:{config.smtp[1]}"
    overrides = f'smtp_address: "{address}" data_dir: "{config.data_dir}"'
    overrides += f' mail_log_path: "{config.mail_log}"'
    settings = Settings(
        relevo=(
            f'listen.smtp=["{address}"]',
            f"data_dir={config.data_dir}",
            f"mail_log.path={config.mail_log}",
        ),
        chasquid=(f"-config_overrides={overrides}",),
    )
    with running(Server(column, config, settings)) as server, server.session() as client:
        assert client.greeting.text.startswith(f"220 {socket.gethostname()}")
        assert client.ehlo().keywords["SIZE"] == str(DEFAULT_SIZE)
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<us.er+suffix@d1.test>", "250")
        client.expect("RCPT TO:<user-suffix@d1.test>", "550")


@pytest.mark.case("C2")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("foo", "1", id="unknown-key"),
        pytest.param("hostname", '"again.test"', id="scalar-twice"),
        pytest.param("max_data_size_mb", '"5"', id="string-for-a-number"),
        pytest.param("dovecot_auth", "yes", id="yes-for-a-boolean"),
        pytest.param("give_up_send_after", '"2d"', id="unknown-unit", marks=NEWER),
    ],
)
def test_bad_key_refuses_the_start(column: Column, tmp_path: Path, key: str, value: str) -> None:
    """Both name the line; a wrong type makes chasquid name the value, relevo the key."""
    config = ConfigDir(
        tmp_path, keys={"max_data_size_mb": None}, extra=f"{key}: {value}\n# the last line\n"
    )
    line = len((config.path / "chasquid.conf").read_text().splitlines()) - 1
    with pytest.raises(StartRefused) as refused, running(Server(column, config)):
        pass
    output = refused.value.output
    assert re.search(rf"(chasquid\.conf:|line ){line}\b", output), output
    assert key in output or column is Column.CHASQUID


@pytest.mark.case("C3")
def test_negative_size_is_the_default(odd: Server) -> None:
    with odd.connect() as client:
        assert client.ehlo().keywords["SIZE"] == str(DEFAULT_SIZE)


@pytest.mark.case("C4")
def test_one_mda_argument_replaces_all_defaults(odd: Server) -> None:
    marker = uuid.uuid4().hex
    with odd.session() as client:
        client.deliver(message=f"X-Marker: {marker}\r\n\r\n".encode())
    (delivery,) = odd.config.wait_for_deliveries(1, marker.encode())
    assert delivery.arguments == ("user@d1.test",)


@pytest.mark.case("C5")
def test_empty_suffix_separators_switch_suffixes_off(odd: Server) -> None:
    with odd.session() as client:
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<user+x@d1.test>", "550 5.1.1")
        client.expect("RCPT TO:<us.er@d1.test>", "250")


@pytest.mark.case("C6")
def test_lists_quotes_comments_and_escapes(odd: Server) -> None:
    for address in (odd.config.smtp, odd.config.submission):
        with Client(address) as client:
            assert client.greeting.text.startswith("220 mx.test ESMTP")
            client.ehlo()
            client.expect("MAIL FROM:<a@pass.test>", "250")


@pytest.mark.case("C7")
def test_incomplete_certificate_folder_is_skipped(odd: Server) -> None:
    with odd.connect(tls=True) as client:
        client.ehlo()
        client.login()


def empty_folder(name: str) -> Callable[[ConfigDir], None]:
    def change(config: ConfigDir) -> None:
        shutil.rmtree(config.path / name)
        (config.path / name).mkdir()

    return change


def no_folder(name: str) -> Callable[[ConfigDir], None]:
    return lambda config: shutil.rmtree(config.path / name)


def empty_address(config: ConfigDir) -> None:
    path = config.path / "chasquid.conf"
    path.write_text(path.read_text() + 'smtp_address: ""\n')


def pkcs1_key(config: ConfigDir) -> None:
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (config.path / "domains" / "d1.test" / "dkim:s.pem").write_bytes(pem)


def ec_key(config: ConfigDir) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (config.path / "domains" / "d1.test" / "dkim:s.pem").write_bytes(pem)


@pytest.mark.case("C8")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(no_folder("certs"), id="no-certs"),
        pytest.param(empty_folder("certs"), id="empty-certs"),
        pytest.param(no_folder("domains"), id="no-domains"),
        pytest.param(empty_folder("domains"), id="empty-domains"),
        pytest.param(empty_address, id="empty-address", marks=NEWER),
        pytest.param(pkcs1_key, id="pkcs1-dkim-key", marks=NEWER),
        pytest.param(ec_key, id="ec-dkim-key", marks=NEWER),
    ],
)
def test_unusable_directory_refuses_the_start(
    column: Column,
    tmp_path_factory: pytest.TempPathFactory,
    change: Callable[[ConfigDir], None],
) -> None:
    config = ConfigDir(tmp_path_factory.mktemp(f"unusable-{column.value}"))
    change(config)
    with pytest.raises(StartRefused), running(Server(column, config)):
        pass


def bytes_literal(data: bytes) -> str:
    """As chasquid-util writes byte strings: valid UTF-8 unescaped, the rest as escapes."""
    literal = ""
    for character in data.decode(errors="surrogateescape"):
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            literal += f"\\x{code - 0xDC00:02x}"
        elif character in '"\\':
            literal += "\\" + character
        elif code < 0x20 or code == 0x7F:
            literal += f"\\x{code:02x}"
        else:
            literal += character
    return literal


def scrypt_scheme(password: str, salt: bytes) -> str:
    encrypted = hashlib.scrypt(
        password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32, maxmem=2**26
    )
    return (
        "scrypt: { logN: 14 r: 8 p: 1 keyLen: 32 "
        f'salt: "{bytes_literal(salt)}" encrypted: "{bytes_literal(encrypted)}" }}'
    )


RAW_UTF8_SALT = "ñandú".encode() + b'\xff\n"\\' + "€".encode() + b"\x01"


@pytest.fixture(scope="module")
def schemes(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    users = {
        **USERS,
        "salted": scrypt_scheme("secret", RAW_UTF8_SALT),
        "broken": 'scrypt: { logN: 14 r: 0 p: 1 keyLen: 32 salt: "0123" encrypted: "0123" }',
    }
    config = ConfigDir(
        tmp_path_factory.mktemp(f"schemes-{column.value}"), domains={"d1.test": Domain(users=users)}
    )
    with running(Server(column, config)) as server:
        yield server


@pytest.mark.case("C9")
def test_salt_with_raw_utf8(schemes: Server) -> None:
    with schemes.connect(tls=True) as client:
        client.ehlo()
        client.expect(f"AUTH PLAIN {plain('salted@d1.test', 'wrong')}", "535")
        client.login("salted@d1.test")


@pytest.mark.case("C10")
@pytest.mark.parametrize(
    "scheme",
    [pytest.param("", id="no-scheme"), pytest.param("denied: {}", id="denied", marks=NEWER)],
)
def test_user_who_may_only_receive(start: StartServer, scheme: str) -> None:
    server = start(domains={"d1.test": Domain(users={**USERS, "deaf": scheme})})
    with server.connect(tls=True) as client:
        client.ehlo()
        client.expect(f"AUTH PLAIN {plain('deaf@d1.test', '')}", "535")
        client.expect("MAIL FROM:<a@pass.test>", "250")
        client.expect("RCPT TO:<deaf@d1.test>", "250")


@pytest.mark.case("C11")
def test_impossible_scrypt_parameters(schemes: Server) -> None:
    with schemes.connect(tls=True) as client:
        client.ehlo()
        client.expect(f"AUTH PLAIN {plain('broken@d1.test', 'secret')}", "535")
    with schemes.connect(tls=True) as client:
        client.ehlo()
        client.login()


@pytest.mark.case("C16")
def test_sockets_by_name(start: StartServer) -> None:
    """As systemd hands them over: FileDescriptorName says which listener a socket is."""
    names = ("submission_tls", "smtp", "submission")
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    systemd = '"systemd"'
    try:
        server = start(
            sockets=Sockets({name: each.fileno() for name, each in sockets.items()}),
            keys={
                "smtp_address": systemd,
                "submission_address": systemd,
                "submission_over_tls_address": systemd,
            },
            listen={name: each.getsockname() for name, each in sockets.items()},
        )
        with server.session() as client:
            client.expect("MAIL FROM:<a@pass.test>", "250")
        with server.connect_submission() as client:
            client.ehlo()
            client.expect("MAIL FROM:<a@pass.test>", "550 5.7.9")
        with server.connect_submission_tls() as client:
            client.ehlo()
            client.login()
    finally:
        for each in sockets.values():
            each.close()
