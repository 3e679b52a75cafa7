"""What the supervisor answers about penalties."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from relevo.config import Config
from relevo.config.penalty_model import Penalties
from relevo.reception import PenaltyTable
from relevo.reception.admission import source_key
from relevo.reception.penalties import Standing, rules_of
from relevo.service.penalties import LISTED, answer_on_penalties

CONFIG = Config()
RULES = rules_of(CONFIG.penalties)


@pytest.fixture
def table() -> PenaltyTable:
    made = PenaltyTable(2)
    now = time.monotonic()
    made.write(0, source_key("192.0.2.1"), Standing(now, score=40.0), RULES)
    made.write(1, source_key("192.0.2.2"), Standing(now, score=30.0, refused_until=now + 60), RULES)
    made.write(1, source_key("2001:db8::5"), Standing(now, score=90.0, logins=1.0), RULES)
    made.write(0, source_key("192.0.2.3"), Standing(now, connections=5.0), RULES)
    return made


def sources(table: PenaltyTable, config: Config = CONFIG) -> list[str]:
    answer = json.loads(json.dumps(answer_on_penalties(table, config, "penalty list")))
    return [entry["source"] for entry in answer["sources"]]


def test_refused_sources_come_first_then_by_points(table: PenaltyTable) -> None:
    assert sources(table) == ["192.0.2.2", "2001:db8::/64", "192.0.2.1"]


def test_a_source_is_told_with_what_follows_from_its_points(table: PenaltyTable) -> None:
    answer = answer_on_penalties(table, CONFIG, "penalty list")
    listed = answer["sources"]
    assert isinstance(listed, list)
    refused, of_users, _ = listed
    assert 50 < refused["refused_seconds"] <= 60
    assert of_users["has_users"]
    assert of_users["delay_seconds"] > 1
    assert answer["more"] == 0


def test_who_is_exempt_since_a_reload_is_not_listed(table: PenaltyTable) -> None:
    config = replace(CONFIG, penalties=Penalties(exempt=("192.0.2.0/24", "2001:db8::/32")))
    assert sources(table, config) == []


def test_the_answer_is_bounded() -> None:
    table = PenaltyTable(1)
    now = time.monotonic()
    for number in range(LISTED + 500):
        key = source_key(f"10.0.{number >> 8}.{number & 255}")
        table.write(0, key, Standing(now, score=10.0), RULES)
    answer = answer_on_penalties(table, CONFIG, "penalty list")
    listed, more = answer["sources"], answer["more"]
    assert isinstance(listed, list)
    assert isinstance(more, int)
    assert len(listed) == LISTED
    assert 400 <= more <= 500


def test_clearing_one_source(table: PenaltyTable) -> None:
    answer = answer_on_penalties(table, CONFIG, "penalty clear 2001:db8::77")
    assert answer == {"cleared": 1, "source": "2001:db8::/64"}
    assert sources(table) == ["192.0.2.2", "192.0.2.1"]
    again = answer_on_penalties(table, CONFIG, "penalty clear 2001:db8::77")
    assert again["cleared"] == 0


def test_clearing_all(table: PenaltyTable) -> None:
    assert answer_on_penalties(table, CONFIG, "penalty clear") == {"cleared": 3}
    assert sources(table) == []


@pytest.mark.parametrize(
    ("request_text", "error"),
    [
        ("penalty clear mx.test", "'mx.test' is no IP address"),
        ("penalty frob", "unknown request 'penalty frob'"),
    ],
)
def test_what_is_not_understood(table: PenaltyTable, request_text: str, error: str) -> None:
    assert answer_on_penalties(table, CONFIG, request_text) == {"error": error}
