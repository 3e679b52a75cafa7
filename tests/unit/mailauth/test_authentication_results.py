"""Authentication-Results: as it is written, and which ones are taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth import (
    MethodResult,
    SpfIdentity,
    SpfOutcome,
    SpfResult,
    authentication_results_field,
    remove_forged_results,
    spf_method_result,
)

OURS = "mx.d1.test"
PASS = SpfResult(SpfOutcome.PASS, "matched ip", SpfIdentity.MAIL_FROM, "pass.test")


def test_a_line_a_result() -> None:
    results = [spf_method_result(PASS), MethodResult("dkim", "none")]
    assert authentication_results_field(OURS, results) == (
        b"Authentication-Results: mx.d1.test\r\n\t;spf=pass (matched ip)\r\n"
        b"\t smtp.mailfrom=pass.test\r\n\t;dkim=none\r\n"
    )


def test_nothing_found_is_said() -> None:
    assert authentication_results_field(OURS, []) == (
        b"Authentication-Results: mx.d1.test\r\n\t;none\r\n"
    )


def test_an_id_that_is_no_token_is_quoted() -> None:
    assert b'Authentication-Results: "[127.0.0.1]"\r\n' in authentication_results_field(
        "[127.0.0.1]", []
    )


BEFORE = b"From: a@b\r\nSubject: x\r\n"
AFTER = b"To: c@d\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.d1.test; spf=pass\r\n",
        b"authentication-results:MX.D1.TEST;spf=pass\r\n",
        b"Authentication-Results : mx.d1.test; spf=pass\r\n",
        b"Authentication-Results:\r\n\tmx.d1.test\r\n\t;spf=pass\r\n",
        b'Authentication-Results: "mx.d1.test"; spf=pass\r\n',
        b'Authentication-Results: "mx\\.d1.test"; spf=pass\r\n',
        b"Authentication-Results: (a (nested) \\) one) mx.d1.test 1; spf=pass\r\n",
        b"Authentication-Results: mx.d1.test(x); spf=pass\r\n",
        b"Authentication-Results: mx.d1.test./1; spf=pass\r\n",
        b"Authentication-Results: mx.d1.test\r\n",
        b"Authentication-Results:\r\n",
        b"Authentication-Results: (never closed mx.other.test\r\n",
        b'Authentication-Results: "never closed\r\n',
        b"Authentication-Results: ; spf=pass\r\n",
    ],
)
def test_what_claims_to_be_ours_is_removed(field: bytes) -> None:
    assert remove_forged_results(BEFORE + field + AFTER, OURS) == BEFORE + AFTER
    assert remove_forged_results(field + BEFORE, OURS) == BEFORE
    assert remove_forged_results(BEFORE + field * 2, OURS) == BEFORE


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.other.test; spf=pass (mx.d1.test)\r\n",
        b"Authentication-Results: not-mx.d1.test; spf=pass\r\n",
        b"Authentication-Results: mx.d1.test.evil; spf=pass\r\n",
        b"Authentication-Results: (mx.d1.test) mx.other.test\r\n",
        b"X-Authentication-Results: mx.d1.test; spf=pass\r\n",
        b"ARC-Authentication-Results: i=1; mx.d1.test; spf=pass\r\n",
        b"Subject: a\r\n Authentication-Results: mx.d1.test; spf=pass\r\n",
    ],
)
def test_what_is_of_others_stays(field: bytes) -> None:
    head = BEFORE + field + AFTER
    assert remove_forged_results(head, OURS) == head


@pytest.mark.parametrize("spelling", ["mx.bücher.test", "MX.BÜCHER.test", "mx.xn--bcher-kva.test"])
@pytest.mark.parametrize("ours", ["mx.bücher.test", "mx.xn--bcher-kva.test"])
def test_our_name_is_known_in_ascii_and_unicode(spelling: str, ours: str) -> None:
    field = f"Authentication-Results: {spelling}; spf=pass\r\n".encode()
    assert remove_forged_results(field + AFTER, ours) == AFTER


@given(st.binary(max_size=80))
def test_any_head_is_taken_and_nothing_else_is_lost(octets: bytes) -> None:
    head = b"A: b\r\nAuthentication-Results: " + octets.replace(b"\n", b"") + b"\r\n" + AFTER
    assert remove_forged_results(head, OURS) in {head, b"A: b\r\n" + AFTER}


def test_a_comment_of_a_megabyte_is_read_once() -> None:
    head = b"Authentication-Results: " + b"(" * 1_000_000 + b"\r\n"
    assert remove_forged_results(head, OURS) == b""
