"""Debian's chasquid, started for real.

It cannot say which port the kernel chose, so its listeners are opened here and handed over the way
systemd does.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.certificates import write_certificate
from harness.config_dir import HOSTNAME, ConfigDir
from harness.debian import program
from harness.dialog import ConnectionEnded, Dialog
from harness.processes import Process, Reaper
from harness.server import Address
from harness.waiting import wait_for

LISTENERS = ("smtp", "submission", "submission_tls")
FIRST_FD = 3


def chasquid_config(
    path: Path, *, more: Mapping[str, str | Sequence[str]] | None = None
) -> ConfigDir:
    """chasquid.conf and a certificate below `path`; domains come from chasquid-util.

    Mail is delivered by `recorder` (see `write_recorder`). `more` adds or replaces keys.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / "domains").mkdir()
    write_certificate(path / "certs" / HOSTNAME, HOSTNAME)
    recorder = write_recorder(path)
    keys: dict[str, str | Sequence[str]] = {
        "hostname": HOSTNAME,
        "data_dir": str(path / "data"),
        "mail_delivery_agent_bin": str(recorder),
        "mail_delivery_agent_args": ["%from%", "%to%"],
        "mail_log_path": str(path / "mail.log"),
        "smtp_address": ["systemd"],
        "submission_address": ["systemd"],
        "submission_over_tls_address": ["systemd"],
        **(more or {}),
    }
    (path / "chasquid.conf").write_text(conf_text(keys))
    return ConfigDir(path)


def conf_text(keys: Mapping[str, str | Sequence[str]]) -> str:
    """Keys in the text format of chasquid.conf; a list becomes a repeated key."""
    lines = []
    for key, value in keys.items():
        values = [value] if isinstance(value, str) else value
        lines += [f"{key}: {json.dumps(each)}\n" for each in values]
    return "".join(lines)


def write_recorder(path: Path) -> Path:
    """A delivery agent that keeps what it was given: mda/<n>/args and mda/<n>/stdin.

    The two appear together: the folder is renamed into its place when both are complete.
    """
    folder = path / "mda"
    folder.mkdir()
    script = path / "recorder"
    script.write_text(
        "#!/bin/sh\nset -e\n"
        f"new=$(mktemp -d {folder}/.new.XXXXXX)\n"
        'printf "%s\\n" "$@" > "$new/args"\n'
        'cat > "$new/stdin"\n'
        f'mv "$new" "{folder}/$(date +%s%N).$$"\n'
    )
    script.chmod(0o755)
    return script


def recorded(
    config: ConfigDir, count: int, *, timeout_s: float = 15.0
) -> list[tuple[list[str], bytes]]:
    """Arguments and message of each delivery, oldest first, once there are `count`."""
    folder = config.path / "mda"

    def complete() -> list[Path]:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

    wait_for(
        lambda: len(complete()) >= count, timeout_s=timeout_s, what=f"{count} runs of the recorder"
    )
    return [
        ((path / "args").read_text().splitlines(), (path / "stdin").read_bytes())
        for path in complete()
    ]


def listen_for_systemd() -> tuple[list[socket.socket], list[str]]:
    """Sockets for the three listeners, and a command in front of the server that names them.

    The sockets are to be passed to the server as `pass_fds`; the command moves them to 3, 4 and 5.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in LISTENERS]
    # first out of the way, then into place: a descriptor may already be one of 3, 4, 5
    away = " ".join(f"{20 + i}<&{s.fileno()}-" for i, s in enumerate(sockets))
    place = " ".join(f"{FIRST_FD + i}<&{20 + i}-" for i in range(len(sockets)))
    names = ":".join(LISTENERS)
    script = (
        f"exec {away}; exec {place}; "
        f"LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names} "
        'exec "$@"'
    )
    return sockets, ["bash", "-c", script, "systemd"]


class ChasquidServer:
    """`chasquid` over a config directory whose listeners are `systemd`."""

    def __init__(self, reaper: Reaper, config: ConfigDir) -> None:
        self.config = config
        self.log = config.path / "chasquid.log"
        sockets, wrapper = listen_for_systemd()
        self.smtp, self.submission, self.submission_tls = (
            Address(*each.getsockname()[:2]) for each in sockets
        )
        self.process: Process = reaper.start(
            [*wrapper, program("chasquid"), f"-config_dir={config.path}", "-v=1"],
            log=self.log,
            cwd=config.path,
            pass_fds=[each.fileno() for each in sockets],
        )
        for each in sockets:
            each.close()
        wait_for(self._answers, what="chasquid's greeting")

    def _answers(self) -> bool:
        assert self.process.is_running(), self.process.output()
        try:
            Dialog(self.smtp).close()
        except (OSError, ConnectionEnded):
            return False
        return True

    def stop(self) -> int:
        return self.process.stop()


def chasquid_util(reaper: Reaper, config: ConfigDir, *arguments: str) -> str:
    """Run chasquid-util over the directory; its output. Fails when it fails."""
    number = len(list(config.path.glob("util-*.log")))
    process = reaper.start(
        [program("chasquid-util"), f"--configdir={config.path}", *arguments],
        log=config.path / f"util-{number}.log",
        cwd=config.path,
    )
    status = process.wait()
    assert status == 0, process.output()
    return process.output()
