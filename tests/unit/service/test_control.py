"""The control socket answers one question a connection."""

import threading
from pathlib import Path

import pytest

from relevo.service.control import ControlSocket, NotRunning, ask


def ask_with_server(data_dir: Path, request: str) -> dict[str, object]:
    control = ControlSocket(data_dir, lambda question: {"asked": question})
    control.socket.setblocking(True)
    thread = threading.Thread(target=control.serve)
    thread.start()
    try:
        return ask(data_dir, request)
    finally:
        thread.join()
        control.close()


def test_a_question_is_answered(tmp_path: Path) -> None:
    assert ask_with_server(tmp_path, "status") == {"asked": "status"}


def test_a_long_path_works_too(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 120)
    data_dir.mkdir()
    assert ask_with_server(data_dir, "status") == {"asked": "status"}


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no server is running"):
        ask(tmp_path, "status")


def test_the_socket_is_for_the_owner_only(tmp_path: Path) -> None:
    control = ControlSocket(tmp_path, lambda _question: {})
    assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600
    control.close()
    assert not (tmp_path / "control.sock").exists()
