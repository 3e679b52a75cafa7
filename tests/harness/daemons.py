"""Other people's servers, started on loopback for a test."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.debian import UNPACKED, program
from harness.processes import Process, Reaper
from harness.waiting import wait_for

_RSPAMD = """
options {{ pidfile = "{folder}/pid"; control_socket = "{folder}/control"; filters = "{filters}";
  enable_test_patterns = true; dns {{ nameserver = ["{dns}"]; timeout = {dns_time}; }}
  cache_file = "{folder}/cache"; tempdir = "{folder}"; hs_cache_dir = "{folder}"; rrd = "";
  url_tld = "{folder}/tld"; history_file = "{folder}/history"; }}
logging {{ type = "console"; }}
actions {{ reject = 15; add_header = 6; }}
worker "rspamd_proxy" {{ bind_socket = "127.0.0.1:{port}"; milter = {milter}; timeout = 10s;
  count = 1; upstream "local" {{ default = yes; self_scan = yes; }} }}
"""
_RSPAMD_SIGNS = """
dkim {{ }}
modules {{ path = "{share}/plugins/dkim_signing.lua"; }}
dkim_signing {{ path = "{key}"; selector = "{selector}"; sign_local = true; use_esld = false;
  check_pubkey = false; allow_username_mismatch = true; }}
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


@dataclass(frozen=True, slots=True)
class RspamdDkim:
    """What rspamd verifies signatures by and signs with; it signs mail of this machine."""

    dns: str
    key: Path
    selector: str


def start_rspamd(
    reaper: Reaper, folder: Path, *, is_milter: bool, dkim: RspamdDkim | None = None
) -> int:
    """rspamd without rules, but for its test patterns; its port, of a milter or of HTTP."""
    port, settings = free_port(), folder / "rspamd.conf"
    (folder / "tld").write_text("test\n")
    share = Path("/usr/share/rspamd")
    if program("rspamd").parent == UNPACKED:
        share = UNPACKED.parent / "root" / "rspamd" / "usr/share/rspamd"
    text = _RSPAMD.format(
        folder=folder,
        port=port,
        milter="yes" if is_milter else "no",
        filters="" if dkim is None else "dkim",
        dns="127.0.0.1:1" if dkim is None else dkim.dns,
        dns_time="0.1s" if dkim is None else "2s",
    )
    if dkim is not None:
        text += _RSPAMD_SIGNS.format(share=share, key=dkim.key, selector=dkim.selector)
    settings.write_text(text)
    paths = [f"--var={name}={share}/{below}" for name, below in _RSPAMD_LUA.items()]
    command = [str(program("rspamd")), "-f", "-i", *paths, "-c", str(settings)]
    start_daemon(reaper, ["env", f"LUA_PATH={share}/lualib/?.lua;;", *command], port, folder)
    return port
