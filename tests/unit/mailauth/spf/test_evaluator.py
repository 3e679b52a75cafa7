"""check_host: identities, reasons, limits and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult, check_host
from unit.mailauth.spf.zones import FAILS, HANGS, Zones

CLIENT = "192.0.2.1"
CLIENT6 = "2001:db8::1"
Table = Mapping[str, Sequence[str] | str]


def check(
    table: Table | Zones,
    reverse_path: str = "ann@d.test",
    hello_name: str = "client.test",
    client_ip: str = CLIENT,
    **options: Any,
) -> SpfResult:
    zones = table if isinstance(table, Zones) else Zones(table)
    return asyncio.run(check_host(client_ip, reverse_path, hello_name, zones, **options))


def shown(table: Table, record: str, **options: Any) -> str:
    """Outcome and reason for d.test with that record."""
    result = check({"TXT d.test": [record], **table}, **options)
    return f"{result.outcome.value} ({result.reason})"


ELSEWHERE = {
    "A d.test": [CLIENT],
    "A host.test": [CLIENT],
    "AAAA host.test": [CLIENT6],
    "MX d.test": ["host.test"],
    f"PTR {CLIENT}": ["host.d.test"],
    "A host.d.test": [CLIENT],
    "TXT in.test": ["v=spf1 a:host.test -all"],
    "TXT soft.test": ["v=spf1 ~all"],
    "TXT dead.test": FAILS,
    "A dead.test": FAILS,
    "TXT broken.test": ["v=spf1 nonsense"],
}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 +all", "pass (matched all)"),
        ("v=spf1 -all", "fail (matched all)"),
        ("v=spf1 ?all", "neutral (matched all)"),
        ("v=spf1 ~all", "softfail (matched all)"),
        ("v=spf1", "neutral (no mechanism matched)"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass (matched ip)"),
        ("v=spf1 -ip4:192.0.2.1", "fail (matched ip)"),
        ("v=spf1 ip6:::/0 ?all", "neutral (matched all)"),
        ("v=spf1 a -all", "pass (matched a)"),
        ("v=spf1 a:host.test/32 -all", "pass (matched a)"),
        ("v=spf1 mx -all", "pass (matched mx)"),
        ("v=spf1 ptr -all", "pass (matched ptr)"),
        ("v=spf1 ptr:other.test -all", "fail (matched all)"),
        ("v=spf1 exists:%{i}.%{l}.test -all", "fail (matched all)"),
        ("v=spf1 exists:host.test -all", "pass (matched exists)"),
        ("v=spf1 include:in.test -all", "pass (matched a)"),
        ("v=spf1 -include:in.test ?all", "fail (matched a)"),
        ("v=spf1 include:soft.test -all", "fail (matched all)"),
        ("v=spf1 redirect=soft.test", "softfail (matched all)"),
        ("v=spf2 -all", "none (no DNS record found)"),
        ("v=spf1 a:dead.test -all", "temperror (DNS could not tell: A dead.test)"),
        ("v=spf1 include:dead.test -all", "temperror (DNS could not tell: TXT dead.test)"),
        ("v=spf1 include:broken.test", "permerror ('nonsense' is no valid mechanism)"),
        (
            "v=spf1 include:nobody.test",
            "permerror (include leads to nobody.test, which has no SPF record)",
        ),
        (
            "v=spf1 redirect=nobody.test",
            "permerror (redirect leads to nobody.test, which has no SPF record)",
        ),
        ("v=spf1 \xe9 -all", "permerror (a record that is not ASCII)"),
    ],
)
def test_outcome_and_reason(record: str, expected: str) -> None:
    assert shown(ELSEWHERE, record) == expected


def test_a_temporary_reason_does_not_show_our_servers() -> None:
    assert "192.0.2.53" not in check({"TXT d.test": FAILS}).reason


def test_two_records_are_an_error() -> None:
    result = check({"TXT d.test": ["v=spf1 -all", "other", "V=SPF1"]})
    assert result.outcome is SpfOutcome.PERMERROR


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_reverse_path_is_checked_by_the_hello_name(null: str) -> None:
    table = {"TXT mx.d.test": ["v=spf1 exists:%{l}.%{o}.%{h}.ok.test -all"]}
    zones = Zones({**table, "A postmaster.mx.d.test.mx.d.test.ok.test": ["127.0.0.2"]})
    result = check(zones, null, "mx.d.test")
    assert (result.outcome, result.identity) == (SpfOutcome.PASS, SpfIdentity.HELO)
    assert result.domain == "mx.d.test"


@pytest.mark.parametrize(
    "hello", ["", "localhost", "[192.0.2.1]", "a..b", "x" * 300, "\udcff.test"]
)
def test_a_hello_name_that_is_no_domain_says_nothing(hello: str) -> None:
    assert check({}, "", hello).outcome is SpfOutcome.NONE


@pytest.mark.parametrize("client", ["", "unix:/run/x", "1.2.3"])
def test_a_client_without_address_says_nothing(client: str) -> None:
    assert check({"TXT d.test": ["v=spf1 +all"]}, client_ip=client).outcome is SpfOutcome.NONE


def test_a_domain_in_unicode_is_asked_for_in_ascii() -> None:
    zones = Zones({"TXT xn--bcher-kva.test": ["v=spf1 exists:%{d} -all"]})
    result = check(zones, "ann@bücher.test")
    assert result.domain == "xn--bcher-kva.test"
    assert zones.asked == ["TXT xn--bcher-kva.test", "A xn--bcher-kva.test"]


def test_the_last_at_sign_separates() -> None:
    zones = Zones({"TXT d.test": ["v=spf1 -all"]})
    assert check(zones, "a@x@d.test").outcome is SpfOutcome.FAIL


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("::ffff:192.0.2.1", "pass (matched a)"),
        (CLIENT6, "pass (matched a)"),
        ("2001:db8::1%eth0", "pass (matched a)"),
        ("2001:db8::2", "fail (matched all)"),
    ],
)
def test_addresses_of_each_family(client: str, expected: str) -> None:
    assert shown(ELSEWHERE, "v=spf1 a:host.test -all", client_ip=client) == expected


@pytest.mark.parametrize(("terms", "outcome"), [(10, "pass"), (11, "permerror")])
def test_ten_terms_may_ask_dns(terms: int, outcome: str) -> None:
    record = f"v=spf1 {'a:other.test ' * (terms - 1)} a:host.test -all"
    assert shown({"A other.test": ["192.0.2.9"], **ELSEWHERE}, record).startswith(outcome)


@pytest.mark.parametrize(("terms", "outcome"), [(10, "pass"), (11, "permerror")])
def test_a_redirect_is_one_of_the_terms(terms: int, outcome: str) -> None:
    table = {"A other.test": ["192.0.2.9"], "TXT r.test": ["v=spf1 all"]}
    record = f"v=spf1 {'a:other.test ' * (terms - 1)} redirect=r.test"
    assert shown(table, record).startswith(outcome)


@pytest.mark.parametrize(("voids", "outcome"), [(2, "pass"), (3, "permerror")])
@pytest.mark.parametrize("term", ["a:no.test", "mx:no.test", "exists:no.test"])
def test_two_terms_may_find_nothing(term: str, voids: int, outcome: str) -> None:
    assert shown({}, f"v=spf1 {f'{term} ' * voids} all").startswith(outcome)


def test_exchanges_of_the_other_family_are_not_held_against_a_domain() -> None:
    table = {"MX d.test": [f"mx{number}.test" for number in range(5)]}
    assert shown(table, "v=spf1 mx ~all", client_ip=CLIENT6) == "softfail (matched all)"


@pytest.mark.parametrize(("count", "outcome"), [(10, "softfail"), (11, "permerror")])
def test_ten_mail_exchanges_are_looked_at(count: int, outcome: str) -> None:
    table = {"MX d.test": [f"mx{number}.test" for number in range(count)]}
    assert shown(table, "v=spf1 mx ~all").startswith(outcome)


@pytest.mark.parametrize(("position", "outcome"), [(9, "pass"), (10, "fail")])
def test_ten_names_of_the_client_are_looked_at(position: int, outcome: str) -> None:
    names = [f"n{number}.d.test" for number in range(12)]
    table = {f"PTR {CLIENT}": names, f"A {names[position]}": [CLIENT]}
    assert shown(table, "v=spf1 ptr -all").startswith(outcome)


def test_the_clients_names_are_looked_for_once() -> None:
    zones = Zones({"TXT d.test": ["v=spf1 ptr:a.test exists:%{p}.x.test ptr:b.test ~all"]})
    check(zones)
    assert zones.asked.count(f"PTR {CLIENT}") == 1


def test_names_that_cannot_be_verified_do_not_match() -> None:
    table = {f"PTR {CLIENT}": ["dead.test", "host.d.test"], "A dead.test": FAILS}
    assert shown({**table, "A host.d.test": [CLIENT]}, "v=spf1 ptr -all").startswith("pass")
    assert shown({f"PTR {CLIENT}": FAILS}, "v=spf1 ptr -all").startswith("fail")
    claimed = {f"PTR {CLIENT}": ["host.d.test"], "A host.d.test": ["192.0.2.9"]}
    assert shown(claimed, "v=spf1 ptr -all").startswith("fail")


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["z.other.test", "sub.d.test", "D.test"], "d.test"),
        (["z.other.test", "sub.d.test"], "sub.d.test"),
        (["z.other.test", "y.other.test"], "z.other.test"),
        ([], "unknown"),
    ],
)
def test_of_the_clients_names_the_nearest_is_used(names: list[str], best: str) -> None:
    verified = {f"A {name.lower()}": [CLIENT] for name in names}
    table = {f"PTR {CLIENT}": names, f"A {best}.ok.test": ["127.0.0.2"], **verified}
    assert shown(table, "v=spf1 exists:%{p}.ok.test -all") == "pass (matched exists)"


def test_includes_without_end_are_cut() -> None:
    assert shown({}, "v=spf1 include:d.test").startswith("permerror (more than 10 terms")


def test_the_time_is_bounded() -> None:
    result = check({"TXT d.test": HANGS}, timeout_s=0.05)
    assert result.outcome is SpfOutcome.TEMPERROR
    assert result.reason == "the check took longer than 0.05 s"


EXPLAINED = {"TXT d.test": ["v=spf1 -all exp=why.%{d}"]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["%{c} is not %{o}: ask %{r}"], "192.0.2.1 is not d.test: ask mx.us.test"),
        (["line\r\nbreak"], ""),
        (["%{l}"], "ann"),
        (["one", "two"], ""),
        (["%{x}"], ""),
        (["\xe9"], ""),
        (["x" * 5000], ""),
        (["x" * 1000], "x" * 500),
        (FAILS, ""),
        (HANGS, ""),
        ([], ""),
    ],
)
def test_the_domain_explains_a_fail(rows: Sequence[str] | str, expected: str) -> None:
    table = {**EXPLAINED, "TXT why.d.test": rows}
    result = check(table, with_explanation=True, receiver="mx.us.test", timeout_s=0.05)
    assert (result.outcome, result.explanation) == (SpfOutcome.FAIL, expected)


def test_nobody_asks_for_an_explanation_that_is_not_wanted() -> None:
    zones = Zones(EXPLAINED)
    check(zones)
    assert zones.asked == ["TXT d.test"]


def test_what_the_client_chose_is_not_shown_raw() -> None:
    table = {**EXPLAINED, "TXT why.d.test": ["%{l}"]}
    assert check(table, "a\r\nbé@d.test", with_explanation=True).explanation == "a??b?"


TERMS = ["a", "mx", "ptr", "exists:%{ir}.%{v}.%{l1r-}.test", "include:d.test", "redirect=%{p}.x"]


@given(
    record=st.lists(st.sampled_from(TERMS) | st.text(max_size=12), max_size=14),
    sender=st.text(max_size=30),
    hello=st.text(max_size=20),
    client=st.ip_addresses(),
    names=st.lists(st.sampled_from(["d.test", "a.d.test", "other.test", ""]), max_size=12),
)
def test_nothing_raises(
    record: list[str], sender: str, hello: str, client: Any, names: list[str]
) -> None:
    text = ("v=spf1 " + " ".join(record)).encode("utf-8", "replace").decode("latin-1")
    zones = Zones({"TXT d.test": [text], "MX d.test": names, f"PTR {client}": names})
    result = check(zones, f"{sender}@d.test", hello, str(client), with_explanation=True)
    assert result.reason.isprintable()
    assert len(zones.asked) <= 1 + 10 * 11 + 11 + 1
