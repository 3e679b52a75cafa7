"""`relevo hook shadow-report`, `replay` and `canary`: what they print, and their exit codes."""

from __future__ import annotations

import time

import pytest

from harness.config_dir import ConfigDir
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, EXIT_NOT_RUNNING, EXIT_USAGE
from relevo.hooks.contract import Accept, Changes, Client, PostDataContext, Refuse, Stage
from relevo.hooks.post_data import HookMessage
from relevo.hooks.steps import Step
from relevo.hooks.trials.effects import compared, effect_of
from relevo.hooks.trials.records import (
    ShadowDifference,
    ShadowTotals,
    encode_kept,
    encode_shadow,
    kept_mail_folder,
    shadow_folder,
)
from relevo.hooks.trials.seen import Question, Seen
from relevo.queue.slices import Bounds, SliceWriter
from unit.cli.invoking import Run
from unit.cli.servers import fake_server

START = b"Subject: s\r\n\r\nbody\r\n"
HOOKS = """
[[hook]]
name = "filter"
form = "python"
target = "hooks/filter.py"

[[hook]]
name = "next"
form = "python"
target = "hooks/next.py"
"""


def declare(site: ConfigDir, more: str) -> None:
    path = site.path / "relevo.toml"
    path.write_text(path.read_text() + HOOKS + more)
    (site.path / "hooks").mkdir(exist_ok=True)
    for name in ("filter", "next"):
        text = "async def post_data(message, context):\n    return None\n"
        (site.path / "hooks" / f"{name}.py").write_text(text)


def write_shadow_records(site: ConfigDir) -> None:
    found = compared(
        effect_of(Refuse(554, "5.7.1", "no"), START),
        effect_of(Accept(Changes(add_recipients=("b@d1.test",))), START),
    )
    site.data.mkdir(exist_ok=True)
    writer = SliceWriter(shadow_folder(site.data), 0, Bounds(1e6, 10**6, 1000))
    difference = ShadowDifference(
        "next", "v2", "filter", "v1", "post-data", "id-7", "192.0.2.7:1", found, 0.1
    )
    totals = ShadowTotals("next", "filter", "post-data", 10, 9, 1, 0, 2)
    now = time.time()
    writer.append([(now - 7200, encode_shadow(totals)), (now, encode_shadow(difference))])
    writer.append([(now, encode_shadow(totals))])
    writer.close()


def keep_mail(site: ConfigDir, *verdicts: Accept | Refuse) -> None:
    site.data.mkdir(exist_ok=True)
    writer = SliceWriter(kept_mail_folder(site.data), 0, Bounds(1e6, 10**6, 1000))
    now = time.time()
    for number, verdict in enumerate(verdicts):
        context = PostDataContext(
            message_id=f"id-{number}", client=Client("192.0.2.7", 1, "c"),
            reverse_path="a@r.test", forward_paths=("b@d1.test",),
        )  # fmt: skip
        question = Question(Stage.POST_DATA, context, HookMessage(START), "c")
        seen = Seen(now, question, (Step("filter", "filter", "", verdict),))
        writer.append([(now, encode_kept(seen, START, "nothing"))])
    writer.close()


def test_the_report_lists_differences_and_adds_up(run: Run, site: ConfigDir) -> None:
    write_shadow_records(site)
    outcome = run("hook", "shadow-report")
    assert outcome.code == EXIT_NO
    assert "next, a shadow of filter" in outcome.out
    assert "20 calls: 18 equal, 2 different; 0 failed, 4 dropped" in outcome.out
    assert "id-7  192.0.2.7:1\n  live:   reject 554 5.7.1 no\n  shadow: accept\n" in outcome.out
    assert "  recipients:\n    + +b@d1.test\n" in outcome.out
    (row,) = run("hook", "shadow-report", "next", "--since", "1h", "--json").json
    assert (row["calls"], row["different"], row["dropped"]) == (10, 1, 2)
    (difference,) = row["differences"]
    assert difference["message_id"] == "id-7"
    assert difference["compared"]["live"] == "reject 554 5.7.1 no"


def test_no_shadows(run: Run) -> None:
    outcome = run("hook", "shadow-report")
    assert (outcome.code, outcome.out) == (0, "no shadow was asked anything in that time\n")


def test_a_replay_shows_what_differs(run: Run, site: ConfigDir) -> None:
    declare(site, '[replay]\nkeep = "1h"\n')
    keep_mail(site, Accept(), Refuse(554, "5.7.1", "no"), Accept(Changes(add=b"X-A: 1\r\n")))
    outcome = run("hook", "replay", "filter")
    assert outcome.code == EXIT_NO
    assert "3 calls: 1 equal, 2 different; 0 failed, 0 not asked" in outcome.out
    assert "id-1  192.0.2.7:1, reverse-path a@r.test" in outcome.out
    assert "  recorded: reject 554 5.7.1 no\n  filter:   accept\n" in outcome.out
    assert "  headers:\n    - X-A: 1\n" in outcome.out
    only = run("hook", "replay", "filter", "--message", "id-0", "--json")
    assert only.code == 0
    assert only.json == {
        "calls": 1, "equal": 1, "different": 0, "errors": 0, "skipped": 0, "redacted": 0,
        "differences": [],
    }  # fmt: skip
    same = run("hook", "replay", "next", "--of", "filter", "--against", "filter")
    assert same.code == 0
    assert "3 calls: 3 equal" in same.out


def test_without_mail_a_replay_says_how_to_keep_some(run: Run, site: ConfigDir) -> None:
    declare(site, "")
    outcome = run("hook", "replay", "filter")
    assert outcome.code == EXIT_CONFIG
    assert 'set `keep = "7d"` below [replay]' in outcome.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nothing",), "'nothing' is no hook of the configuration, as file: No such file"),
        (("filter", "--since", "x"), "write for example 30m or 2d"),
        (("filter", "--stage", "alias-resolve"), "is not one of"),
    ],
)
def test_what_cannot_be_replayed(
    run: Run, site: ConfigDir, words: tuple[str, ...], text: str
) -> None:
    declare(site, "")
    outcome = run("hook", "replay", *words)
    assert outcome.code == EXIT_USAGE
    assert text in outcome.err


def test_a_canary_is_reset_by_the_server(run: Run, site: ConfigDir) -> None:
    assert run("hook", "canary", "reset", "next").code == EXIT_NOT_RUNNING
    with fake_server(site, lambda _request: {"was_reset": True}) as asked:
        assert run("hook", "canary", "reset", "next").code == 0
    assert asked == ["canary-reset next"]
    with fake_server(site, lambda _request: {"was_reset": False}):
        outcome = run("hook", "canary", "reset", "next")
    assert outcome.code == EXIT_NO
    assert "declared are: none" in outcome.err


def test_variants_and_their_state_are_listed(run: Run, site: ConfigDir) -> None:
    declare(site, 'canary = "10%"\ncanary_of = "filter"\n')
    assert "(canary, 10% of filter)" in run("hook", "list").out
    canary = {
        "hook": "next", "calls": 20, "failures": 3, "live_calls": 100, "live_failures": 1,
        "returned_at": 1.0,
    }  # fmt: skip
    with fake_server(site, lambda _request: {"canaries": [canary]}):
        outcome = run("hook", "list")
    assert "canary next: given up at 1970-" in outcome.out
    assert "failed 3 of 20 calls, its hook 1 of 100" in outcome.out
