"""Other people's servers, started on loopback for a test."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.debian import UNPACKED, program
from harness.processes import Process, Reaper
from harness.waiting import wait_for

_RSPAMD = """
options {{ pidfile = "{folder}/pid"; control_socket = "{folder}/control"; filters = "";
  enable_test_patterns = true; dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; }}
  cache_file = "{folder}/cache"; tempdir = "{folder}"; hs_cache_dir = "{folder}"; rrd = "";
  url_tld = "{folder}/tld"; history_file = "{folder}/history"; }}
logging {{ type = "console"; }}
actions {{ reject = 15; add_header = 6; }}
worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{port}"; milter = {milter}; timeout = 10s;
  count = 1; upstream "local" {{ default = yes; self_scan = yes; }} }}
"""
_RSPAMD_LUA = {"LUALIBDIR": "lualib", "SHAREDIR": "", "RULESDIR": "rules"}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_daemon(
    reaper: Reaper, command: Sequence[str], at: int | Path, folder: Path, *, says: str = ""
) -> Process:
    """Started, and taking connections at its port or socket; its log is in `folder`.

    `says`: what it writes once it serves those whom it lets connect.
    """
    process = reaper.start(command, log=folder / "service.log")

    def is_listening() -> bool:
        assert process.is_running(), process.output()
        family = socket.AF_INET if isinstance(at, int) else socket.AF_UNIX
        with suppress(OSError), socket.socket(family) as client:
            client.settimeout(1)
            client.connect(("127.0.0.1", at) if isinstance(at, int) else str(at))
            return says in process.output()
        return False

    wait_for(is_listening, timeout_s=40, what=command[0])
    return process


def start_rspamd(reaper: Reaper, folder: Path, *, is_milter: bool) -> int:
    """rspamd without rules, but for its test patterns; its port, of a milter or of HTTP."""
    port, settings = free_port(), folder / "rspamd.conf"
    (folder / "tld").write_text("test\n")
    milter = "yes" if is_milter else "no"
    settings.write_text(_RSPAMD.format(folder=folder, port=port, milter=milter))
    share = Path("/usr/share/rspamd")
    if program("rspamd").parent == UNPACKED:
        share = UNPACKED.parent / "root" / "rspamd" / "usr/share/rspamd"
    paths = [f"--var={name}={share}/{below}" for name, below in _RSPAMD_LUA.items()]
    command = [str(program("rspamd")), "-f", "-i", *paths, "-c", str(settings)]
    start_daemon(reaper, ["env", f"LUA_PATH={share}/lualib/?.lua;;", *command], port, folder)
    return port
