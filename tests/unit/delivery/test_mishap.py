"""What follows when an attempt raised."""

from __future__ import annotations

import pytest

from relevo.delivery.mishap import MAX_RAISES, judge
from relevo.queue import ContentDamaged, ContentUnreadable
from unit.delivery.samples import make_unit

PATH = "/var/lib/relevo/spool/1-1.seg"


def test_damage_is_held_at_last_and_the_log_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ContentDamaged(f"{PATH}: content at 0 does not match its sum")
    mishaps = [judge(make_unit(), error, raises) for raises in range(1, MAX_RAISES + 1)]
    assert [one.is_held for one in mishaps] == [False] * (MAX_RAISES - 1) + [True]
    assert all("damaged" in one.detail and PATH not in one.detail for one in mishaps)
    assert PATH in caplog.text
    assert "`relevo queue drop m1`" in caplog.text
    assert "Traceback" not in caplog.text


def test_what_cannot_be_read_now_is_never_held(caplog: pytest.LogCaptureFixture) -> None:
    error = ContentUnreadable(f"{PATH}: Too many open files")
    mishap = judge(make_unit(), error, 1000)
    assert not mishap.is_held
    assert PATH not in mishap.detail
    assert "Too many open files" in caplog.text


def test_a_fault_of_ours_is_held_with_its_traceback() -> None:
    error = ValueError("a bug")
    assert judge(make_unit(), error, 1).detail == "internal error, see the server's log"
    held = judge(make_unit(), error, MAX_RAISES)
    assert held.is_held
    assert "a bug" in held.detail
