from __future__ import annotations

import socket

import pytest

from relevo.config.profiles import (
    DIFFERENCES,
    Profile,
    differences_table,
    profile_defaults,
    system_hostname,
)
from relevo.config.schema import KEYS


def test_the_table_is_all_that_differs() -> None:
    relevo, chasquid = profile_defaults(Profile.RELEVO), profile_defaults(Profile.CHASQUID)
    assert relevo.keys() == chasquid.keys() == KEYS.keys()
    differing = {name for name in KEYS if relevo[name] != chasquid[name]}
    assert differing == {"profile", *(difference.key for difference in DIFFERENCES)}


def test_the_rendered_table_has_a_row_for_each_difference() -> None:
    rows = differences_table().splitlines()
    for difference in DIFFERENCES:
        assert any(row.startswith(f"| `{difference.key}` | ") for row in rows)
    assert '| `queue.give_up_after` | `"5d"` | `"20h"` | chasquid\'s default. |' in rows


@pytest.mark.parametrize(
    ("profile", "plain", "canonical", "expected"),
    [
        (Profile.CHASQUID, "mx", "mx.example.org", "mx"),
        (Profile.RELEVO, "mx", "mx.example.org", "mx.example.org"),
        (Profile.RELEVO, "mx.test", "other.example.org", "mx.test"),
        (Profile.RELEVO, "mx", "localhost", "mx"),
        (Profile.RELEVO, "mx", None, "mx"),
    ],
)
def test_the_systems_name_is_full_where_the_profile_wants_it(
    monkeypatch: pytest.MonkeyPatch,
    profile: Profile,
    plain: str,
    canonical: str | None,
    expected: str,
) -> None:
    def getaddrinfo(host: str, port: None, flags: int) -> list[tuple[int, int, int, str]]:
        assert (host, flags) == (plain, socket.AI_CANONNAME)
        if canonical is None:
            raise socket.gaierror
        return [(0, 0, 0, canonical)]

    monkeypatch.setattr(socket, "gethostname", lambda: plain)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert system_hostname(profile) == expected
