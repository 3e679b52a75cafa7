"""Kills at random moments lose nothing that was answered 250."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fault.form import FORM
from fault.kills.killer import Round, Tally, Victim
from fault.load.generator import Generator
from fault.mutants import ANSWER_FIRST, mutated_sources
from fault.site import make_site
from harness.processes import Reaper

MUTANT_KILLS = 3


def start_round(reaper: Reaper, path: Path, run: str, *, source: Path | None = None) -> Round:
    site = make_site(reaper, path, source=source)
    site.server.start()
    load = Generator(reaper, listeners=site.listeners, ledger=path / "ledger", run=run, mix="kills")
    return Round(site, load, random.Random())


@pytest.mark.timeout(FORM.timeout_s)
def test_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(least_rate=FORM.least_rate)
    number = 0
    while len(tally.counted) < FORM.kills:
        assert len(tally.kills) < 3 * FORM.kills, f"too few kills count: {tally}"
        number += 1
        with Reaper() as reaper:
            running = start_round(reaper, tmp_path / f"round{number}", f"r{number}")
            for _ in range(FORM.kills_a_round):
                tally.kills.append(running.kill_once(least_rate=FORM.least_rate))
            verdict = running.finish()
        tally.verdict.add(verdict)
        with capsys.disabled():
            print(f"\nkills: round {number}: {tally}", flush=True)
        verdict.require_nothing_lost()
        running.site.remove_disk()


@pytest.mark.timeout(600)
def test_a_250_before_the_commit_is_found_out(
    tmp_path: Path, reaper: Reaper, capsys: pytest.CaptureFixture[str]
) -> None:
    source = mutated_sources(tmp_path / "src", ANSWER_FIRST)
    running = start_round(reaper, tmp_path / "site", "m", source=source)
    for _ in range(MUTANT_KILLS):
        running.kill_once(Victim.TREE)
    verdict = running.finish()
    with capsys.disabled():
        print(f"\nkills, answered before the commit: {verdict}")
    assert verdict.lost
