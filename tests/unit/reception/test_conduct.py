"""What a client's conduct brings it, and who is exempt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from relevo.config import Config
from relevo.config.penalty_model import Penalties as Table
from relevo.reception.conduct import Conduct, Penalties, is_offence
from relevo.reception.penalties import Offence
from relevo.reception.penalty_table import PenaltyTable
from relevo.smtp.events import Violation

IP = "192.0.2.7"


@dataclass
class Workers:
    """Workers over one table, on a clock of their own."""

    now: float = 1000.0
    table: PenaltyTable = field(default_factory=lambda: PenaltyTable(2))
    counted: list[str] = field(default_factory=list)
    settings: Table = field(default_factory=Table)

    def conduct(self, row: int = 0, *, ip: str = IP, is_for_users: bool = False) -> Conduct:
        penalties = Penalties(self.table, row, clock=lambda: self.now)
        config = replace(Config(), penalties=self.settings)
        penalties.use(config, lambda _family, label: self.counted.append(label))
        made = Conduct(penalties, is_for_users=is_for_users)
        made.begin(ip)
        return made

    def score(self) -> float:
        penalties = Penalties(self.table, clock=lambda: self.now)
        penalties.use(replace(Config(), penalties=self.settings), lambda _f, _l: None)
        from relevo.reception.admission import source_key

        assert penalties.rules is not None
        return self.table.standing(source_key(IP), self.now, penalties.rules).score


@pytest.fixture
def workers() -> Workers:
    return Workers()


def offend(conduct: Conduct, times: int, offence: Offence = Offence.AUTH) -> None:
    for _ in range(times):
        conduct.on_offence(offence)


def test_a_first_offence_has_no_consequence(workers: Workers) -> None:
    conduct = workers.conduct()
    conduct.on_offence(Offence.RECIPIENT)
    assert (conduct.pause, conduct.is_refused) == (0, False)


def test_offences_bring_ever_longer_pauses_then_refusal(workers: Workers) -> None:
    conduct = workers.conduct()
    pauses = []
    for _ in range(20):
        conduct.on_offence(Offence.AUTH)
        pauses.append(conduct.pause)
    assert pauses == sorted(pauses)
    assert pauses[2] == 0 < pauses[3]
    assert pauses[-1] == 5
    assert conduct.is_refused
    assert workers.conduct().is_refused
    assert workers.counted.count("refusals") == 1
    assert workers.counted[-1] == "refused"


def test_a_refusal_holds_for_other_workers_and_ends(workers: Workers) -> None:
    offend(workers.conduct(0), 20)
    assert workers.conduct(1).is_refused
    assert not workers.conduct(1, ip="192.0.2.8").is_refused
    workers.now += 61
    assert not workers.conduct(1).is_refused


def test_who_goes_on_is_refused_for_longer(workers: Workers) -> None:
    offend(workers.conduct(), 20)
    workers.now += 61
    offend(workers.conduct(1), 2)
    workers.now += 61
    assert workers.conduct().is_refused
    workers.now += 61
    assert not workers.conduct().is_refused


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_exempt(workers: Workers, ip: str) -> None:
    conduct = workers.conduct(ip=ip)
    offend(conduct, 100)
    assert (conduct.pause, conduct.is_refused) == (0, False)
    assert workers.counted == []


def test_penalties_can_be_off(workers: Workers) -> None:
    workers.settings = replace(workers.settings, enabled=False)
    conduct = workers.conduct()
    offend(conduct, 100)
    assert not conduct.is_refused
    assert not workers.conduct().is_refused


def test_who_logs_in_is_exempt_from_then_on(workers: Workers) -> None:
    conduct = workers.conduct()
    offend(conduct, 5)
    conduct.on_login()
    offend(conduct, 100, Offence.RECIPIENT)
    assert (conduct.pause, conduct.is_refused) == (0, False)
    assert workers.score() == pytest.approx(20), "a login takes back one failed login"


def test_a_source_of_users_is_slowed_down_but_not_refused_where_users_come(
    workers: Workers,
) -> None:
    workers.conduct(is_for_users=True).on_login()
    guesser = workers.conduct(is_for_users=True)
    offend(guesser, 40)
    assert not guesser.is_refused
    assert guesser.pause == 5
    assert not workers.conduct(1, is_for_users=True).is_refused
    assert workers.conduct(1, is_for_users=False).is_refused


def test_logins_alone_bring_no_credit(workers: Workers) -> None:
    for _ in range(20):
        workers.conduct().on_login()
    conduct = workers.conduct()
    offend(conduct, 4)
    assert conduct.pause > 0


def test_refused_recipients_of_a_message_that_is_accepted_for_more_are_taken_back(
    workers: Workers,
) -> None:
    conduct = workers.conduct()
    conduct.on_transaction()
    offend(conduct, 4, Offence.RECIPIENT)
    conduct.on_accepted(5)
    assert workers.score() == 0


def test_but_not_when_most_were_refused_or_of_an_earlier_transaction(workers: Workers) -> None:
    conduct = workers.conduct()
    conduct.on_transaction()
    offend(conduct, 4, Offence.RECIPIENT)
    conduct.on_accepted(4)
    conduct.on_transaction()
    conduct.on_accepted(100)
    assert workers.score() == 8


def test_connections_above_the_rate_bring_points(workers: Workers) -> None:
    workers.settings = replace(workers.settings, connections_per_minute=10)
    for _ in range(10):
        assert workers.conduct().pause == 0
    assert workers.score() == 0
    for number in range(100):
        workers.conduct(number % 2)
    assert workers.conduct().is_refused


def test_commands_above_the_rate_bring_points(workers: Workers) -> None:
    workers.settings = replace(workers.settings, commands_per_minute=1000)
    conduct = workers.conduct()
    for _ in range(1000):
        conduct.on_command()
    assert workers.score() == 0
    for _ in range(500):
        conduct.on_command()
    assert workers.score() == 5


def test_commands_of_short_connections_count_as_well(workers: Workers) -> None:
    workers.settings = replace(workers.settings, commands_per_minute=1000)
    for _ in range(60):
        conduct = workers.conduct()
        for _ in range(40):
            conduct.on_command()
        conduct.end()
    assert workers.score() > 0


@pytest.mark.parametrize(
    ("verb", "code", "expected"),
    [
        ("MAIL", 501, True),
        ("XYZZY", 500, True),
        ("DATA", 521, True),
        ("DATA", 503, False),
        ("BDAT", 503, False),
        ("DATA", 552, False),
        ("RCPT", 452, False),
        ("RCPT", 421, False),
        ("AUTH", 421, False),
        ("NOOP", 421, True),
        ("AUTH", 503, True),
    ],
)
def test_which_refusals_of_the_session_bring_points(verb: str, code: int, expected: bool) -> None:
    violation = Violation(verb, code, "", "", resets=False, closes=False)
    assert is_offence(violation) is expected
