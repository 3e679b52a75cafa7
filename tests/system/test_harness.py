"""The harness itself, on programs that behave badly and on Debian's chasquid."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.chasquid import ChasquidServer, chasquid_config, chasquid_util, recorded
from harness.dialog import Dialog
from harness.processes import Reaper, describe
from harness.waiting import wait_for

ESCAPES = """
import os, time
done, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    print("escaped", os.getpid(), flush=True)
    os.write(tell, b"x")
    time.sleep(600)
os.read(done, 1)
"""


def test_a_process_that_left_its_group_is_found_and_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(AssertionError, match="left behind"), Reaper() as reaper:
        reaper.start([sys.executable, "-c", ESCAPES], log=log).wait()
    escaped = int(log.read_text().split()[1])
    wait_for(lambda: not describe(escaped), what="the end of the process")


def test_a_skip_for_another_reason_than_a_missing_package_fails(
    reaper: Reaper, tmp_path: Path
) -> None:
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "test_items.py").write_text(
        "import pytest\n"
        "def test_skips(): pytest.skip('not today')\n"
        "@pytest.mark.skip\ndef test_is_marked(): pass\n"
    )
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.importorskip('no_such_module')\n"
    )
    options = ("-p", "no:cacheprovider", "-p", "conftest", "-c", str(root / "pyproject.toml"))
    pytest_here = ("env", "-u", "CI", sys.executable, "-m", "pytest")
    process = reaper.start(
        [*pytest_here, "--continue-on-collection-errors", *options, tmp_path],
        log=tmp_path / "log",
        cwd=root,
    )
    assert process.wait(60) == 1
    assert "1 failed, 2 errors" in process.output(), process.output()
    assert process.output().count("only a missing Debian package may skip") == 3


@pytest.mark.needs_debian("chasquid")
def test_chasquid_is_served_on_sockets_that_are_passed_to_it(
    reaper: Reaper, tmp_path: Path
) -> None:
    config = chasquid_config(tmp_path / "chasquid")
    chasquid_util(reaper, config, "user-add", "user@d1.test", "--password=secret")
    server = ChasquidServer(reaper, config)
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        assert client.log_in("user@d1.test", "secret").code == 235
        client.envelope("user@d1.test", "user@d1.test")
        assert client.message(b"Subject: x\r\n\r\nhello\r\n").code == 250
    [(arguments, message)] = recorded(config, 1)
    assert arguments == ["user@d1.test", "user@d1.test"]
    assert message.endswith(b"Subject: x\n\nhello\n")
