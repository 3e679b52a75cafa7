"""Kills while mail leaves for another server lose nothing, and repeat only what they must."""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from fault.form import FORM
from fault.kills.killer import Round, Victim
from fault.load.generator import Generator
from fault.load.ledger import Ledger
from fault.outbound.deliveries import Deliveries, committed_deliveries, compare_deliveries
from fault.outbound.recorder import Taken, read_message, read_record
from fault.site import Site, make_site
from harness.mail_sink import free_port, start_sink
from harness.processes import Reaper
from harness.waiting import wait_for

RECORDER = Path(__file__).with_name("outbound") / "recorder.py"
DELAY_S = 0.03  # of the recorder's answers
RATE = 400.0  # messages a second that come
SENT_RATE = 250  # that leave: some always wait
SENT_TIMEOUT_S = 300.0

Read = Callable[[], Mapping[str, Sequence[Taken]]]


def start_recorder(reaper: Reaper, folder: Path) -> tuple[int, Read]:
    """Ours: its port, and what reads its record."""
    port_file, record = folder / "recorder.port", folder / "record"
    reaper.start(
        [
            *(sys.executable, RECORDER, "--port-file", port_file, "--record", record),
            *("--delay", str(DELAY_S)),
        ],
        log=folder / "recorder.log",
    )
    wait_for(port_file.exists, what="the recorder")
    return int(port_file.read_text()), lambda: read_record(record)


def start_postfix_sink(reaper: Reaper, folder: Path) -> tuple[int, Read]:
    """Postfix's smtp-sink, a file for each message."""
    port = free_port("127.0.0.1")
    sink = start_sink(reaper, folder, "127.0.0.1", port)

    def read() -> Mapping[str, Sequence[Taken]]:
        found: dict[str, list[Taken]] = defaultdict(list)
        boot = time.clock_gettime(time.CLOCK_BOOTTIME) - time.time()
        for path in sorted(sink.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            content = path.read_bytes()
            if b"\n\n" in content.replace(b"\r\n", b"\n"):
                taken = read_message(path.stat().st_mtime + boot, content)
                found[taken.message_id].append(taken)
        return found

    return port, read


SINKS = {"recorder": start_recorder, "smtp-sink": start_postfix_sink}


def outbound_round(reaper: Reaper, folder: Path, port: int, number: int) -> Round:
    """A server under a load of which every message goes to a mailbox and to the port."""
    site = make_site(
        reaper,
        folder / f"round{number}",
        settings={
            "outbound.smarthost": [f"127.0.0.1:{port}"],
            "outbound.smarthost_tls": "best",
            "outbound.max_per_destination": 10,
            "outbound.max_per_minute": 60 * SENT_RATE,
        },
    )
    site.server.start()
    load = Generator(
        reaper,
        listeners=site.listeners,
        ledger=folder / f"round{number}" / "ledger",
        run=f"o{number}",
        mix="outbound",
        rate=RATE,
    )
    return Round(site, load, random.Random())


def finish(site: Site, ledger: Ledger, read: Read) -> Deliveries:
    """Wait until nothing is left to send, stop, and compare."""
    wait_for(
        lambda: site.counts().total == 0,
        timeout_s=SENT_TIMEOUT_S,
        what="an empty queue",
    )
    assert site.server.stop(30) == 0
    assert not site.damage()
    kills = [
        float(line.split()[1])
        for line in site.pipe_log.read_text().splitlines()
        if line.startswith("KILL")
    ]
    return compare_deliveries(ledger, read(), kills, committed_deliveries(site.data))


@pytest.mark.timeout(FORM.timeout_s)
@pytest.mark.parametrize(
    "sink",
    ["recorder", pytest.param("smtp-sink", marks=pytest.mark.needs_debian("postfix"))],
)
def test_kills_lose_nothing_that_goes_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sink: str
) -> None:
    kills = 0
    repeated = 0
    for number in range(FORM.outbound_rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Reaper() as reaper:
            port, read = SINKS[sink](reaper, folder)
            running = outbound_round(reaper, folder, port, number)
            victims = [Victim.WORKER, Victim.TREE, Victim.SUPERVISOR]
            for kill in range(FORM.outbound_kills):
                running.kill_once(victims[kill % len(victims)])
                kills += 1
            verdict = finish(running.site, running.end_load(), read)
        repeated += verdict.repeated
        with capsys.disabled():
            print(f"\nkills while mail leaves for {sink}: {kills} kills; {verdict}", flush=True)
        verdict.require_nothing_lost()
        running.site.remove_disk()
    if sink == "recorder" and FORM.outbound_kills > 10:
        assert repeated, "no kill hit the window, so nothing was shown of it"
