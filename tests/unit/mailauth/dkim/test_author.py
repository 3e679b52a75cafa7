"""Whose domain signs, by the From field."""

from __future__ import annotations

import pytest

from relevo.mailauth.dkim.author import author_domain


@pytest.mark.parametrize(
    ("field", "domain"),
    [
        (b"From: a@D.test\r\n", "d.test"),
        (b"from : Ada <a@d.test>\r\n", "d.test"),
        (b'From: "x <b@other.test>" <a@d.test>\r\n', "d.test"),
        (b"From: (a <b@other.test>) Ada\r\n <a@d.test> (x@y.test)\r\n", "d.test"),
        (b"From: a@d.test (see (nested) x@y.test)\r\n", "d.test"),
        (b"From: a@d.test, b@D.TEST\r\n", "d.test"),
        (b'From: "a@other.test"@d.test\r\n', "d.test"),
        ("From: a@BÜCHER.test\r\n".encode(), "bücher.test"),
        (b"From: a@d.test, b@other.test\r\n", ""),
        (b"From: a@d.test\r\nFrom: b@d.test\r\n", ""),
        (b"From: (<x@y.test> ((((((x)))))))) a@d.test\r\n", ""),
        (b"From: a\r\n", "a"),
        (b"From: nobody here\r\n", ""),
        (b"From: <a@d test>\r\n", ""),
        (b"From:\r\n", ""),
        (b"Subject: x\r\n", ""),
        (b"From: " + b"(" * 5000 + b"a@d.test\r\n", ""),
    ],
)
def test_the_one_domain_of_the_author(field: bytes, domain: str) -> None:
    assert author_domain(b"X: y\r\n" + field + b"Z: a@z.test\r\n") == domain
