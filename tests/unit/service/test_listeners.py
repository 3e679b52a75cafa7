"""Listeners of our own and systemd's by name."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relevo.config.model import Config
from relevo.config.reception_model import Listen
from relevo.service.listeners import ListenFailed, open_sockets


def config(**listen: tuple[str, ...]) -> Config:
    keys = {"smtp": (), "submission": (), "submission_tls": ()} | listen
    return Config(listen=Listen(**keys))  # type: ignore[arg-type]  # keys of one type


def test_a_port_of_0_is_chosen_by_the_kernel() -> None:
    listeners = open_sockets(config(smtp=("127.0.0.1:0", "[::1]:0")), {}).listeners
    assert [listener.key for listener in listeners] == ["smtp", "smtp"]
    assert listeners[0].address.startswith("127.0.0.1:")
    assert listeners[1].address.startswith("[::1]:")
    assert not listeners[0].address.endswith(":0")
    for listener in listeners:
        listener.socket.close()


def test_a_taken_port_names_port_and_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenFailed, match=f"listen.submission: .*port {port}"):
            open_sockets(config(submission=(f"127.0.0.1:{port}",)), {})


def test_nothing_to_listen_on_is_an_error() -> None:
    with pytest.raises(ListenFailed, match="no address to listen on"):
        open_sockets(config(smtp=("systemd",)), {})


SCRIPT = """
import json, os, socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [sock.getsockname()[1] for sock in sockets]
for target, sock in enumerate(sockets, 10):
    os.dup2(sock.fileno(), target)
for sock in sockets:
    sock.close()
for index in range(3):
    os.dup2(10 + index, 3 + index)
from relevo.config.model import Config
from relevo.config.reception_model import Listen
from relevo.service.listeners import ListenFailed, open_sockets
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", **json.loads(sys.argv[1])}
try:
    keys = ("smtp", "submission", "submission_tls")
    config = Config(listen=Listen(**dict.fromkeys(keys, ("systemd",))))
    listeners = open_sockets(config, environ).listeners
    print(json.dumps({"ports": ports, "left": environ,
        "got": [[l.key, int(l.address.rpartition(":")[2])] for l in listeners]}))
except ListenFailed as error:
    print(json.dumps({"error": str(error)}))
"""


def test_a_listener_that_systemd_did_not_pass_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listeners = open_sockets(config(smtp=("systemd",), submission=("127.0.0.1:0",)), {}).listeners
    for listener in listeners:
        listener.socket.close()
    assert [listener.key for listener in listeners] == ["submission"]
    assert "listen.smtp: systemd passed no socket named smtp" in caplog.text


def run_with_systemd(**environ: str) -> dict[str, object]:
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(environ)],
        capture_output=True,
        text=True,
        check=True,
        close_fds=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    ).stdout
    answer = json.loads(output)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.case("C16")
def test_systemd_sockets_are_taken_by_name() -> None:
    answer = run_with_systemd(LISTEN_FDNAMES="submission:smtp:submission_tls")
    ports = answer["ports"]
    assert isinstance(ports, list)
    assert answer["got"] == [
        ["smtp", ports[1]],
        ["submission", ports[0]],
        ["submission_tls", ports[2]],
    ]
    assert answer["left"] == {}


def test_too_few_names_are_explained() -> None:
    assert "FileDescriptorName" in str(run_with_systemd(LISTEN_FDNAMES="smtp")["error"])


def test_sockets_for_another_process_are_refused() -> None:
    answer = run_with_systemd(LISTEN_FDNAMES="a:b:c", LISTEN_PID="1")
    assert "for process 1" in str(answer["error"])


def test_sockets_that_are_held_are_used_on_and_what_is_not_wanted_is_closed() -> None:
    asked = config(smtp=("127.0.0.1:0",), submission=("127.0.0.1:0",))
    before = open_sockets(asked, {})
    addresses = [listener.address for listener in before.listeners]
    held = {
        name: [socket.socket(fileno=os.dup(each.fileno())) for each in sockets]
        for name, sockets in before.by_name.items()
    }
    spare = socket.create_server(("127.0.0.1", 0))
    before.close()
    after = open_sockets(asked, {}, {**held, "smtp 127.0.0.1:26": [spare]})
    assert [listener.address for listener in after.listeners] == addresses
    assert spare.fileno() == -1
    after.close()
