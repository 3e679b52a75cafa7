"""The judge of the rows, on outcomes made up for it."""

from __future__ import annotations

import pytest

from conformance.chasquid.cases import Case, Kind, Milestone, Page
from conformance.chasquid.verdicts import Outcome, Result, combine, judge

SAME, BETTER, DECIDES = Kind.SAME, Kind.BETTER, Kind.RELEVO_DECIDES


def case(kind: Kind, *, newer: bool = False, hidden: str = "") -> Case:
    return Case(
        id="S1",
        kind=kind,
        milestone=Milestone.MAIN_JOB,
        input="i",
        expected="e",
        reason="RFC 5321" if kind is DECIDES else "",
        newer_than_debian=newer,
        not_observable=hidden,
    )


def outcomes(column: str, *results: str) -> list[Outcome]:
    return [
        Outcome(test="t", cases=["S1"], column=column, outcome=result, marks=[])
        for result in results
    ]


@pytest.mark.parametrize(
    ("row", "relevo", "chasquid", "right"),
    [
        pytest.param(case(SAME), ["passed"], ["passed"], True, id="same-on-both"),
        pytest.param(case(SAME), ["failed"], ["passed"], False, id="relevo-fails"),
        pytest.param(case(SAME), [], ["passed"], False, id="never-run-on-relevo"),
        pytest.param(case(SAME), ["passed"], ["passed", "failed"], False, id="chasquid-fails-one"),
        pytest.param(case(SAME), ["passed"], ["skipped"], False, id="chasquid-not-installed"),
        pytest.param(case(SAME), ["passed"], [], False, id="never-run-on-chasquid"),
        pytest.param(case(SAME, newer=True), ["passed"], ["failed"], True, id="newer"),
        pytest.param(case(SAME, newer=True), ["failed"], ["failed"], False, id="newer-on-neither"),
        pytest.param(case(BETTER), ["passed"], ["failed", "passed"], True, id="better"),
        pytest.param(case(BETTER), ["passed"], ["passed"], False, id="no-better"),
        pytest.param(case(BETTER, hidden="slow"), ["passed"], [], True, id="not-observable"),
        pytest.param(case(DECIDES), ["passed"], ["failed"], True, id="decided"),
        pytest.param(case(DECIDES), ["failed"], ["failed"], False, id="decided-but-broken"),
    ],
)
def test_verdict(row: Case, relevo: list[str], chasquid: list[str], right: bool) -> None:
    page = Page({row.id: row}, frozenset({row.milestone}))
    results = outcomes("relevo", *relevo) + outcomes("chasquid", *chasquid)
    (judged,) = judge(page, results)
    assert (judged.complaint() == "") is right


def test_rows_of_unfinished_milestones_without_tests_are_left_out() -> None:
    page = Page({"S1": case(SAME)}, frozenset())
    assert judge(page, []) == []
    assert len(judge(page, outcomes("relevo", "passed"))) == 1


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], Result.NOT_RUN),
        (["passed", "passed"], Result.PASSED),
        (["passed", "skipped"], Result.SKIPPED),
        (["skipped", "failed"], Result.FAILED),
    ],
)
def test_combined_result(results: list[str], expected: Result) -> None:
    assert combine(results) is expected


@pytest.mark.parametrize(
    ("kind", "newer"), [(DECIDES, False), (BETTER, True)], ids=["no-reason", "newer-and-better"]
)
def test_malformed_rows_are_refused(kind: Kind, newer: bool) -> None:
    with pytest.raises(ValueError, match="S1"):
        Case(
            id="S1",
            kind=kind,
            milestone=Milestone.MAIN_JOB,
            input="i",
            expected="e",
            newer_than_debian=newer,
        )
