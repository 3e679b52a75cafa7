"""Which forwarders' word counts."""

from __future__ import annotations

import pytest

from relevo.mailauth.arc import ArcLink, ArcOutcome, ArcResult
from relevo.mailauth.dmarc.forwarding import dmarc_passed, trusted_forwarder

GOOD = b"lists.test; spf=fail; dmarc=pass header.from=a.test"
BAD = b"lists.test; dmarc=fail header.from=a.test"


def chain(*links: tuple[str, bytes], outcome: ArcOutcome = ArcOutcome.PASS) -> ArcResult:
    return ArcResult(outcome, "", tuple(ArcLink(i, *link) for i, link in enumerate(links, start=1)))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(chain(("lists.test", GOOD)), "lists.test", id="pass"),
        pytest.param(chain(("lists.test", BAD)), "", id="fail"),
        pytest.param(chain(("other.test", GOOD)), "", id="stranger"),
        pytest.param(chain(("lists.test", GOOD), outcome=ArcOutcome.FAIL), "", id="broken"),
        pytest.param(
            chain(("lists.test", GOOD), ("relay.test", BAD)), "lists.test", id="both-trusted"
        ),
        pytest.param(chain(("lists.test", GOOD), ("other.test", GOOD)), "", id="stranger-last"),
        pytest.param(chain(("other.test", GOOD), ("lists.test", BAD)), "", id="stranger-before"),
        pytest.param(chain(), "", id="none"),
    ],
)
def test_trusted_forwarder(found: ArcResult, expected: str) -> None:
    assert trusted_forwarder(found, ("lists.test", "relay.test")) == expected


def test_nobody_is_trusted_unless_named() -> None:
    assert trusted_forwarder(chain(("lists.test", GOOD)), ()) == ""


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (b"x; dmarc=pass", True),
        (b"x 1;\r\n\tDMARC / 1 = PASS (p=none)", True),
        (b"x; dmarc=fail", False),
        (b"x; dmarc=passed", False),
        (b"x; dmarc=pass; dmarc=fail", False),
        (b"x; spf=pass (; dmarc=pass)", False),
        (b'x; spf=fail reason="; dmarc=pass"', False),
        (b"x; xdmarc=pass", False),
        (b"dmarc=pass", False),
        (b"x; spf=pass dmarc=pass", False),
        (b"", False),
    ],
)
def test_what_a_link_says(results: bytes, expected: bool) -> None:
    assert dmarc_passed(results) is expected
