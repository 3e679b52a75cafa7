"""Paths of MAIL and RCPT: what is an address, what is refused and how."""

from __future__ import annotations

import pytest

from relevo.smtp.commands import parse_auth, parse_bdat, parse_hello, parse_mail, parse_rcpt
from relevo.smtp.events import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, Auth, Hello, Mail, Path, Rcpt
from relevo.smtp.replies import Fixed
from unit.smtp.driver import SETTINGS


def mail(path: str | bytes) -> Mail | Fixed:
    octets = path.encode() if isinstance(path, str) else path
    return parse_mail(b"FROM:" + octets, SETTINGS)


def rcpt(path: str | bytes) -> Rcpt | Fixed:
    octets = path.encode() if isinstance(path, str) else path
    return parse_rcpt(b"TO:" + octets, SETTINGS)


ACCEPTED = [
    pytest.param("<a@b.test>", Path("a", "b.test"), id="plain"),
    pytest.param("a@b.test", Path("a", "b.test"), id="no brackets"),
    pytest.param("  \t<a@b.test>", Path("a", "b.test"), id="blanks in front"),
    pytest.param("<a@b.test>   ", Path("a", "b.test"), id="blanks behind"),
    pytest.param("<a.b+c=d@b.test>", Path("a.b+c=d", "b.test"), id="dots and signs"),
    pytest.param("<-x@b.test>", Path("-x", "b.test"), id="leading hyphen"),
    pytest.param("<a@localhost>", Path("a", "localhost"), id="one label"),
    pytest.param("<a@XN--BC.Test>", Path("a", "XN--BC.Test"), id="case is kept"),
    pytest.param("<a@[127.0.0.1]>", Path("a", "[127.0.0.1]"), id="IPv4 literal"),
    pytest.param("<a@[IPv6:2001:db8::1]>", Path("a", "[IPv6:2001:db8::1]"), id="IPv6 literal"),
    pytest.param("<ñ@ñandú.test>", Path("ñ", "ñandú.test"), id="UTF-8"),
    pytest.param("<a\u200db@d1.test>", Path("a\u200db", "d1.test"), id="joiner in the user"),
    pytest.param('<"a"@b.test>', Path("a", "b.test"), id="needless quotes"),
    pytest.param('<"a b"@b.test>', Path("a b", "b.test"), id="quoted blank"),
    pytest.param('<"a\\"\\\\b"@b.test>', Path('a"\\b', "b.test"), id="quoted pairs"),
    pytest.param('<"a@d1.test"@r.test>', Path("a@d1.test", "r.test"), id="quoted at"),
    pytest.param('<"a>b"@r.test>', Path("a>b", "r.test"), id="quoted bracket"),
    pytest.param("<user%r.test@d1.test>", Path("user%r.test", "d1.test"), id="percent hack"),
    pytest.param("<r.test!user@d1.test>", Path("r.test!user", "d1.test"), id="bang path"),
    pytest.param("<../../etc/passwd@d1.test>", Fixed, id="dots in front of a slash"),
    pytest.param("<a/../b@d1.test>", Fixed, id="dot dot inside"),
    pytest.param("<a/b@d1.test>", Path("a/b", "d1.test"), id="slash in the user"),
]


@pytest.mark.parametrize(("text", "expected"), ACCEPTED)
def test_the_same_addresses_are_good_for_mail_and_rcpt(
    text: str, expected: Path | type[Fixed]
) -> None:
    if expected is Fixed:
        assert mail(text) is Fixed.SENDER_MALFORMED
        assert rcpt(text) is Fixed.RECIPIENT_MALFORMED
    else:
        assert isinstance(expected, Path)
        assert mail(text) == Mail(expected, NO_MAIL_PARAMETERS)
        assert rcpt(text) == Rcpt(expected, NO_RCPT_PARAMETERS)


MALFORMED = [
    pytest.param("<a>", id="no domain"),
    pytest.param("a", id="bare word"),
    pytest.param("<a@>", id="empty domain"),
    pytest.param("<@b.test>", id="empty local part"),
    pytest.param('<""@b.test>', id="empty quotes"),
    pytest.param("<a@@b.test>", id="two ats"),
    pytest.param("<a@d1.test@r.test>", id="two domains"),
    pytest.param("<@x.test:a@b.test>", id="source route"),
    pytest.param("<@x.test,@y.test:a@b.test>", id="long source route"),
    pytest.param("<a@b.test>junk", id="text behind"),
    pytest.param("<a@b.test><c@d.test>", id="two paths"),
    pytest.param("<a@b.test", id="not closed"),
    pytest.param("a@b.test>", id="not opened"),
    pytest.param("<<a@b.test>>", id="brackets twice"),
    pytest.param("Name <a@b.test>", id="display name"),
    pytest.param("Name<a@b.test>", id="display name without blank"),
    pytest.param("< a@b.test>", id="blank inside"),
    pytest.param("<a b@b.test>", id="blank in the local part"),
    pytest.param("<a@b.test >", id="blank behind the domain"),
    pytest.param("<a..b@b.test>", id="double dot"),
    pytest.param("<.a@b.test>", id="leading dot"),
    pytest.param("<a.@b.test>", id="trailing dot"),
    pytest.param('<"a@b.test>', id="quote not closed"),
    pytest.param('<a"b@b.test>', id="quote inside"),
    pytest.param('<"a"b@b.test>', id="text behind the quotes"),
    pytest.param('<"a".b@b.test>', id="quotes as one word of several"),
    pytest.param("<a(comment)@b.test>", id="comment"),
    pytest.param("<a,b@b.test>", id="comma"),
    pytest.param("<a:b@b.test>", id="colon"),
    pytest.param("<a\\@c@b.test>", id="quoted pair without quotes"),
    pytest.param(b"<a\0@b.test>", id="NUL"),
    pytest.param(b'<"a\0"@b.test>', id="NUL in quotes"),
    pytest.param(b'<"a\x7f"@b.test>', id="DEL in quotes"),
    pytest.param('<"a\u2028"@b.test>', id="line separator in quotes"),
    pytest.param("<a\u0085b@b.test>", id="next line"),
    pytest.param(b"<\xff@b.test>", id="not UTF-8"),
    pytest.param(b"<\xc0\xaf@b.test>", id="overlong UTF-8"),
]


@pytest.mark.case("S16")
@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_address_is_refused(text: str | bytes) -> None:
    assert mail(text) is Fixed.SENDER_MALFORMED
    assert rcpt(text) is Fixed.RECIPIENT_MALFORMED


BAD_DOMAINS = [
    pytest.param("a/b.test", id="slash"),
    pytest.param("../x", id="path upwards"),
    pytest.param("..", id="only dots"),
    pytest.param("b.test.", id="trailing dot"),
    pytest.param(".b.test", id="leading dot"),
    pytest.param("b..test", id="double dot"),
    pytest.param("-b.test", id="leading hyphen"),
    pytest.param("b-.test", id="trailing hyphen"),
    pytest.param("b_c.test", id="underscore"),
    pytest.param("b!c.test", id="bang"),
    pytest.param("b#c.test", id="hash"),
    pytest.param("b%00.test", id="percent"),
    pytest.param("*.test", id="star"),
    pytest.param("b\\c.test", id="backslash"),
    pytest.param("b:25", id="port"),
    pytest.param("l" * 64 + ".test", id="label of 64"),
    pytest.param("a." * 126 + "ab", id="254 octets"),
    pytest.param("[127.0.0.1", id="literal not closed"),
    pytest.param("[127.0.0.256]", id="no IPv4"),
    pytest.param("[127.1]", id="short IPv4"),
    pytest.param("[IPv6:::1%eth0]", id="zone"),
    pytest.param("[IPv6:xyz]", id="no IPv6"),
    pytest.param("[x-tag:abc]", id="general literal"),
    pytest.param("[]", id="empty literal"),
    pytest.param("ñ\u3002test", id="ideographic full stop"),
    pytest.param("ñ/x.test", id="slash beside UTF-8"),
    pytest.param("-ñ.test", id="hyphen in front of UTF-8"),
    pytest.param("ñ-.test", id="hyphen behind UTF-8"),
    pytest.param("ñ" * 64 + ".test", id="U-label of 64"),
    pytest.param("a\u202eb.test", id="right-to-left override"),
    pytest.param("💌.test", id="symbol"),
]


@pytest.mark.case("D25")
@pytest.mark.parametrize("domain", BAD_DOMAINS)
def test_a_domain_that_is_no_hostname_is_refused(domain: str) -> None:
    assert mail(f"<a@{domain}>") is Fixed.SENDER_DOMAIN_MALFORMED
    assert rcpt(f"<a@{domain}>") is Fixed.RECIPIENT_DOMAIN_MALFORMED


@pytest.mark.case("S19")
def test_an_address_has_at_most_256_octets() -> None:
    longest = "<" + "a" * 249 + "@b.test>"
    assert isinstance(mail(longest), Mail)
    assert isinstance(rcpt(longest), Rcpt)
    assert mail("<a" + longest[1:]) is Fixed.SENDER_TOO_LONG
    assert rcpt("<a" + longest[1:]) is Fixed.RECIPIENT_TOO_LONG
    assert mail("<" + "ñ" * 125 + "@b.test>") is Fixed.SENDER_TOO_LONG, "octets, not characters"


def test_the_null_reverse_path_is_a_sender_and_no_recipient() -> None:
    assert mail("<>") == Mail(Path("", ""), NO_MAIL_PARAMETERS)
    assert mail(" <> ") == Mail(Path("", ""), NO_MAIL_PARAMETERS)
    assert rcpt("<>") is Fixed.RECIPIENT_MALFORMED


@pytest.mark.case("S26")
@pytest.mark.parametrize("text", ["<postmaster>", "<PostMaster>", "postmaster"])
def test_postmaster_needs_no_domain_as_a_recipient(text: str) -> None:
    assert rcpt(text) == Rcpt(Path("postmaster", ""), NO_RCPT_PARAMETERS)
    assert mail(text) is Fixed.SENDER_MALFORMED


def test_long_hostile_paths_are_refused_quickly() -> None:
    for text in ('<"' + "\\" * 4000, "<" + '"' * 4000, "<" + "a." * 2000, "<" + "a@" * 2000 + ">"):
        assert mail(text) is Fixed.SENDER_MALFORMED
    assert mail("<a@" + "a-" * 2000 + ">") in {
        Fixed.SENDER_TOO_LONG,
        Fixed.SENDER_DOMAIN_MALFORMED,
    }


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        pytest.param(b"cli", Hello("EHLO", "cli"), id="plain"),
        pytest.param(b"  cli more", Hello("EHLO", "cli"), id="first word"),
        pytest.param("ñ.test".encode(), Hello("EHLO", "ñ.test"), id="UTF-8"),
        pytest.param(b"", Fixed.HELLO_WITHOUT_NAME, id="nothing"),
        pytest.param(b"  ", Fixed.HELLO_WITHOUT_NAME, id="blanks"),
        pytest.param(b"a\0b", Fixed.HELLO_MALFORMED, id="NUL"),
        pytest.param(b"\xff", Fixed.HELLO_MALFORMED, id="not UTF-8"),
        pytest.param(b"x" * 256, Fixed.HELLO_MALFORMED, id="256 octets"),
    ],
)
def test_hello(argument: bytes, expected: Hello | Fixed) -> None:
    assert parse_hello("EHLO", argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"0", (0, False)),
        (b"12", (12, False)),
        (b"12 last", (12, True)),
        (b"12  LAST ", (12, True)),
        (b"", None),
        (b"-1", None),
        (b"1 FIRST", None),
        (b"1 LAST x", None),
        (b"1" * 19, None),
        (b"0x10", None),
        ("١".encode(), None),
    ],
)
def test_bdat(argument: bytes, expected: tuple[int, bool] | None) -> None:
    assert parse_bdat(argument) == expected


@pytest.mark.case("S35", "S38")
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        pytest.param(b"plain", Auth("PLAIN", None), id="any case"),
        pytest.param(b"PLAIN =", Auth("PLAIN", b""), id="empty initial response"),
        pytest.param(b"PLAIN AGEAYg==", Auth("PLAIN", b"\0a\0b"), id="initial response"),
        pytest.param(b"PLAIN AGEAYg", Fixed.AUTH_MALFORMED, id="missing padding"),
        pytest.param(b"PLAIN AGEAYg=", Fixed.AUTH_MALFORMED, id="half of the padding"),
        pytest.param(b"PLAIN AGEAYg==x", Fixed.AUTH_MALFORMED, id="text behind padding"),
        pytest.param(b"PLAIN A*==", Fixed.AUTH_MALFORMED, id="no base64"),
        pytest.param(b"PLAIN AGEAYg== x", Fixed.AUTH_MALFORMED, id="third word"),
        pytest.param(b"", Fixed.AUTH_MECHANISM_MISSING, id="nothing"),
        pytest.param(b"  ", Fixed.AUTH_MECHANISM_MISSING, id="blanks"),
        pytest.param(b"GSSAPI", Fixed.AUTH_MECHANISM_UNKNOWN, id="unknown mechanism"),
        pytest.param(b"\xff", Fixed.AUTH_MECHANISM_UNKNOWN, id="no text"),
    ],
)
def test_auth(argument: bytes, expected: Auth | Fixed) -> None:
    assert parse_auth(argument, SETTINGS) == expected
