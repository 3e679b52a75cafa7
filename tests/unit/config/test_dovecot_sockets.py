from __future__ import annotations

import socket
from pathlib import Path

import pytest

from relevo.config import dovecot_sockets
from relevo.config.dovecot_sockets import client_socket, userdb_socket
from relevo.config.reception_model import Auth


def test_configured_paths_are_taken_as_they_are() -> None:
    auth = Auth(dovecot_userdb_path="/no/u", dovecot_client_path="/no/c")
    assert (userdb_socket(auth), client_socket(auth)) == ("/no/u", "/no/c")


def test_the_first_place_with_a_socket_is_found_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, common = tmp_path / "auth-chasquid-client", tmp_path / "auth-client"
    monkeypatch.setattr(dovecot_sockets, "CLIENT_PLACES", (str(own), str(common)))
    own.touch()  # a file is no socket
    assert client_socket(Auth()) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(common))
        assert client_socket(Auth()) == str(common)
    own.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        assert client_socket(Auth()) == str(own)
