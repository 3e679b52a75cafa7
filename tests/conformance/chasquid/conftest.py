"""Runs each dialogue test in two columns: against relevo, and against Debian's chasquid.

Which rows run where follows from their kind in cases.toml. `--both` runs every test on chasquid
too, also those that must fail there; `--outcomes FILE` writes what each test of a row did.
scripts/conformance_table.py uses both to judge the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.chasquid import cases
from conformance.chasquid.configdir import ConfigDir
from conformance.chasquid.servers import FAST_RELOAD, Column, Server, Settings, Sockets, running

COLUMNS = [
    pytest.param(Column.RELEVO, id="relevo"),
    pytest.param(Column.CHASQUID, id="chasquid", marks=pytest.mark.needs_debian("chasquid")),
]
LOG_TAIL = 4000

StartServer = Callable[..., Server]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--both", action="store_true", help="run every dialogue on chasquid too")
    group.addoption("--column", choices=[column.value for column in Column], help="only this one")
    group.addoption("--outcomes", metavar="FILE", help="write the outcome of each row's tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "column" in metafunc.fixturenames:
        metafunc.parametrize("column", COLUMNS, scope="session")


def case_ids(item: pytest.Item) -> list[str]:
    return [case_id for mark in item.iter_markers("case") for case_id in mark.args]


def column_of(item: pytest.Item) -> Column | None:
    """None: the test needs no server."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("column")


def is_wanted(item: pytest.Item, *, both: bool) -> bool:
    """Does this test run in its column? chasquid is asked what it must show, or all (`both`)."""
    if column_of(item) is not Column.CHASQUID:
        return True
    if item.get_closest_marker("newer_than_debian"):
        return False
    rows = [cases.load().cases[case_id] for case_id in case_ids(item)]
    if both:
        return not any(row.not_observable for row in rows)
    return all(row.is_shown_by_debian() for row in rows)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = cases.load().cases.keys()
    both = config.getoption("both", default=False)
    only = config.getoption("column", default=None)
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        unknown = set(case_ids(item)) - known
        if unknown:
            raise pytest.UsageError(f"{item.nodeid}: no such row in cases.toml: {unknown}")
        in_column = only is None or column_of(item) is Column(only)
        (kept if in_column and is_wanted(item, both=both) else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


class Outcomes:
    """Collects what became of each test that shows a row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, dict[str, Any]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            column = column_of(item)
            self._rows[item.nodeid] = {
                "test": item.nodeid,
                "cases": case_ids(item),
                "column": column.value if column else "",
                "outcome": "collected",
                "marks": sorted({mark.name for mark in item.iter_markers()}),
            }

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self._rows[report.nodeid]
        if report.when == "call" or report.outcome != "passed":
            row["outcome"] = report.outcome

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps(list(self._rows.values()), indent=1))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "newer_than_debian: this part of a row is newer than Debian's chasquid, so relevo alone",
    )
    path = config.getoption("outcomes", default=None)
    if path:
        config.pluginmanager.register(Outcomes(Path(path)), "conformance-outcomes")


def servers_of(item: pytest.Item) -> list[Server]:
    values = getattr(item, "funcargs", {}).values()
    return [value for value in values if isinstance(value, Server)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    for each in servers_of(item):
        each.mark_output()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any]:
    """A failure shows what the server printed meanwhile."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for each in servers_of(item):
            title = f"output of {each.column.value}"
            report.sections.append((title, each.output_since_mark()[-LOG_TAIL:]))


@pytest.fixture(scope="session")
def server(column: Column, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The common setup of the page, shared by all tests that need nothing else."""
    config = ConfigDir(tmp_path_factory.mktemp(f"standard-{column.value}"))
    with running(Server(column, config, FAST_RELOAD)) as started:
        yield started


@pytest.fixture
def start(column: Column, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of the test's own: start(settings=…, …), with what ConfigDir takes."""
    started: list[Server] = []

    def start_server(
        *,
        settings: Settings | None = None,
        sockets: Sockets | None = None,
        first: bytes = b"",
        **config: Any,
    ) -> Server:
        made = ConfigDir(tmp_path / str(len(started)), **config)
        started.append(Server(column, made, settings, sockets, first=first))
        started[-1].start()
        return started[-1]

    yield start_server
    for each in started:
        each.stop()
