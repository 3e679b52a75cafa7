"""What `relevo hook test` tells the hooks of a stage, and shows as the answer."""

from __future__ import annotations

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.hook_stage_trial import _context, _reply
from relevo.cli.hook_trial import Facts
from relevo.config import load
from relevo.hooks.contract import Changes, Refuse, Stage
from relevo.hooks.contract.json_form import TYPES
from relevo.hooks.stages import DELIVERY_STAGES, SESSION_STAGES, StageOutcome

FACTS = Facts(
    sender="a@r.test",
    recipients=("one@d1.test", "two@d1.test"),
    client="192.0.2.9:99",
    hello="cli",
    tags=("old",),
    route="mx:d.test",
)


@pytest.mark.parametrize("stage", [*SESSION_STAGES, *DELIVERY_STAGES])
def test_each_stage_has_the_context_of_its_contract(site: ConfigDir, stage: Stage) -> None:
    context = _context(load(site.path), stage, FACTS)
    assert type(context) is TYPES[stage][0]
    assert context.stage == stage.value
    assert context.tags == ("old",)


@pytest.mark.parametrize(
    ("stage", "outcome", "reply"),
    [
        (Stage.MAIL, StageOutcome(), "250 2.1.0 Sender OK"),
        (Stage.RCPT, StageOutcome(Refuse(451, "4.7.1", "later")), "451 4.7.1 later"),
        (Stage.EHLO, StageOutcome(Refuse(550, "5.7.1", "no")), "550 no"),
        (
            Stage.ROUTE,
            StageOutcome(changes=Changes(route="via:h.test")),
            "the attempt goes by the route (route via:h.test)",
        ),
        (
            Stage.BEFORE_ATTEMPT,
            StageOutcome(Refuse(554, "5.7.1", "no")),
            "the recipients are given up: 5.7.1 no",
        ),
        (Stage.DSN, StageOutcome(is_dropped=True), "the sender is not told"),
    ],
)
def test_the_answer_in_words(stage: Stage, outcome: StageOutcome, reply: str) -> None:
    assert _reply(stage, outcome) == reply
