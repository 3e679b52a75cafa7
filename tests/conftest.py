"""Rules for all tests: what may be skipped, and the profiles of property tests.

A test is skipped for one reason only: the programs of a Debian package that its
`needs_debian("…")` names are missing. With RELEVO_REQUIRE=all that fails too. Every other skip, in
a test or while a module is imported, is turned into a failure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from harness import debian, own_network
from harness.processes import Reaper, reaping
from harness.server import RelevoFactory

MISSING = pytest.StashKey[str]()
NOT_ALLOWED = (
    "this test was skipped, but only a missing Debian package may skip one "
    '(mark it needs_debian("…")): '
)

hypothesis.settings.register_profile("test", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=20_000)
hypothesis.settings.load_profile(os.environ.get("RELEVO_HYPOTHESIS", "test"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_debian"):
        for package in marker.args:
            absent = debian.missing(package)
            if not absent:
                continue
            reason = f"Debian package {package}: no working {' '.join(absent)}"
            if os.environ.get("RELEVO_REQUIRE") == "all":
                pytest.fail(f"{reason} (RELEVO_REQUIRE=all)", pytrace=False)
            item.stash[MISSING] = package
            pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests marked `own_network` run there; True: that is done."""
    if own_network.is_inside() or pyfuncitem.get_closest_marker("own_network") is None:
        return None
    own_network.run_inside(pyfuncitem.nodeid)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        package = item.stash.get(MISSING, None)
        if package is None:
            report.outcome = "failed"
            report.longrepr = NOT_ALLOWED + str(report.longrepr)
        else:
            report.user_properties.append(("missing_package", package))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = NOT_ALLOWED + str(report.longrepr)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note skips for `make test`; of processes of xdist only the controller writes."""
    path = os.environ.get("RELEVO_SKIP_REPORT")
    if path is None or not report.skipped or "PYTEST_XDIST_WORKER" in os.environ:
        return
    for name, value in report.user_properties:
        if name == "missing_package":
            with Path(path).open("a") as file:
                print(json.dumps({"package": value, "test": report.nodeid}), file=file)


@pytest.fixture
def reaper(request: pytest.FixtureRequest) -> Iterator[Reaper]:
    """Starts processes and makes sure that none of them outlives the test."""
    with reaping(request) as reaper:
        yield reaper


@pytest.fixture
def start_relevo(reaper: Reaper, tmp_path: Path) -> RelevoFactory:
    """Call it to get a running server: `start_relevo(settings={"limits.errors": 5})`."""
    return RelevoFactory(reaper, tmp_path)
