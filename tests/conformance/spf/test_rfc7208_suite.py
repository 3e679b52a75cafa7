"""SPF against the openspf.org suite for RFC 7208: every test, result and explanation."""

from __future__ import annotations

import asyncio

import pytest

from conformance.spf.suite import Case, cases
from relevo.mailauth import check_host

DEFAULT = "DEFAULT"  # the suite's word for: the domain says nothing


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_result_and_explanation(case: Case) -> None:
    result = asyncio.run(
        check_host(
            case.client_ip,
            case.reverse_path,
            case.hello_name,
            case.zones,
            receiver="mx.receiver.test",
            with_explanation=True,
        )
    )
    assert result.outcome.value in case.results, result.reason
    if case.explanation is not None:
        assert result.explanation == case.explanation.replace(DEFAULT, "")


def test_the_suite_is_whole() -> None:
    assert len(cases()) == 203
