"""Text formats, checked by a strict reader of OpenMetrics 1.0."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from relevo.web import Figures
from relevo.web.chasquid_names import chasquid_families
from relevo.web.exposition import (
    Family,
    Kind,
    Sample,
    chasquid_text,
    openmetrics,
    prometheus_text,
)
from relevo.web.relevo_names import relevo_families

LABELS = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-zA-Z_]+)(?:\{{({LABELS}(?:,{LABELS})*)\}})? (\S+)")
SUFFIXES = {
    "counter": {"_total"},
    "gauge": {""},
    "info": {"_info"},
    "histogram": {"_bucket", "_count", "_sum"},
}


def check_openmetrics(text: str) -> dict[str, float]:
    """Samples by name and labels; AssertionError for what OpenMetrics does not allow."""
    assert text.endswith("# EOF\n")
    found: dict[str, float] = {}
    name, kind, told = "", "", set[str]()
    for line in text.removesuffix("# EOF\n").splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in told, f"{name} stands in two places"
            told.add(name)
        elif line.startswith("# UNIT "):
            assert name.endswith("_" + line.split(" ")[3]), line
            assert line.split(" ")[2] == name
        elif line.startswith("# HELP "):
            assert line.split(" ")[2] == name
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1].removeprefix(name) in SUFFIXES[kind], line
            key = line.rpartition(" ")[0]
            assert key not in found, line
            found[key] = float(match[3])
    return found


def test_our_metrics_are_openmetrics(figures: Figures) -> None:
    found = check_openmetrics(openmetrics(relevo_families(figures)))
    assert found['relevo_commands_total{command="MAIL"}'] == 7
    assert found['relevo_build_info{version="1.2.3",hostname="mx.test"}'] == 1
    assert found["relevo_queue_oldest_age_seconds"] == 90
    assert found['relevo_deliveries_total{route="mx",outcome="temporary"}'] == 2
    assert found['relevo_logins_total{result="failure"}'] == 4
    assert found["relevo_connections_refused_total"] == 2
    assert found["relevo_ready"] == 1


def test_what_was_never_seen_makes_no_line_where_there_could_be_many(figures: Figures) -> None:
    text = openmetrics(relevo_families(figures))
    assert 'code="250"' in text
    assert 'code="251"' not in text
    assert 'route="mda"' not in text


def test_histograms_are_cumulative(figures: Figures) -> None:
    found = check_openmetrics(openmetrics(relevo_families(figures)))
    name, label = "relevo_hook_duration_seconds", 'hook="hooks/post-data"'
    assert found[f'{name}_bucket{{{label},le="0.001"}}'] == 2
    assert found[f'{name}_bucket{{{label},le="5.0"}}'] == 2
    assert found[f'{name}_bucket{{{label},le="+Inf"}}'] == 3
    assert found[f"{name}_count{{{label}}}"] == 3
    assert found[f"{name}_sum{{{label}}}"] == 6.5


def test_a_queue_that_cannot_be_read_is_left_out(figures: Figures) -> None:
    text = openmetrics(relevo_families(replace(figures, queue=None)))
    assert "relevo_queue" not in text
    check_openmetrics(text)


def test_the_older_format_has_total_in_the_name_of_the_family() -> None:
    families = [
        Family("a", Kind.COUNTER, "A.", (Sample(1),)),
        Family("b", Kind.INFO, "B.", (Sample(1, (("x", "y"),)),)),
    ]
    assert prometheus_text(families) == (
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"
        '# HELP b_info B.\n# TYPE b_info gauge\nb_info{x="y"} 1\n'
    )


@pytest.mark.parametrize(
    ("label", "written"),
    [('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("ä", "ä")],
)
def test_labels_are_escaped(label: str, written: str) -> None:
    text = openmetrics([Family("a", Kind.GAUGE, "A.", (Sample(1.5, (("x", label),)),))])
    assert f'a{{x="{written}"}} 1.5\n' in text
    check_openmetrics(text)


def test_chasquids_names(figures: Figures) -> None:
    text = chasquid_text(chasquid_families(figures))
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    assert "# TYPE" not in text
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values == {
        **{
            line.split(" ")[2]: "0"
            for line in lines
            if line.startswith("# HELP chasquid_sts_cache")
        },
        "chasquid_smtpIn_dkimSigned": "5",
        "chasquid_smtpIn_dkimSignErrors": "1",
        "chasquid_smtpIn_dkimVerifyErrors": "0",
        "chasquid_smtpIn_dkimVerifyFound": "3",
        "chasquid_smtpIn_dkimVerifyNotFound": "4",
        "chasquid_smtpIn_dkimVerifyValid": "2",
        'chasquid_smtpIn_commandCount{command="MAIL"}': "7",
        'chasquid_smtpIn_commandCount{command="GET"}': "1",
        'chasquid_smtpIn_wrongProtoCount{command="GET"}': "1",
        'chasquid_smtpIn_responseCodeCount{code="250"}': "9",
        'chasquid_smtpIn_spfResultCount{result="pass"}': "2",
        "chasquid_smtpIn_loopsDetected": "1",
        'chasquid_smtpIn_tlsCount{status="tls"}': "4",
        'chasquid_smtpIn_securityLevelChecks{result="skip"}': "1",
        'chasquid_smtpIn_securityLevelChecks{result="pass"}': "2",
        'chasquid_smtpIn_hookResults{result="post-data:success"}': "2",
        'chasquid_smtpIn_hookResults{result="post-data:fail"}': "1",
        'chasquid_smtpIn_hookResults{result="post-data:skip"}': "2",
        "chasquid_queue_putCount": "5",
        "chasquid_queue_itemsWritten": "5",
        "chasquid_queue_dsnQueued": "1",
        'chasquid_queue_deliverAttempts{recipient_type="email:local"}': "3",
        'chasquid_queue_deliverAttempts{recipient_type="email:remote"}': "2",
        'chasquid_queue_deliverAttempts{recipient_type="forward"}': "1",
        'chasquid_queue_deliverAttempts{recipient_type="pipe"}': "1",
        "chasquid_sourceDateTimestamp": "0",
    }
