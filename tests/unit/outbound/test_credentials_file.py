"""Credentials of a next hop, as they stand in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.outbound.credentials import Credentials, Mechanism
from relevo.outbound.ways import WayUnusable, read_credentials


def test_a_password_and_a_token(tmp_path: Path) -> None:
    path = tmp_path / "smarthost"
    path.write_text("user@example.org\npäss word\n")
    path.chmod(0o640)
    assert read_credentials(str(path)) == Credentials("user@example.org", "päss word")
    path.write_text("user@example.org\nya29.token\nOAuthBearer\n")
    expected = Credentials("user@example.org", "ya29.token", (Mechanism.OAUTHBEARER,))
    assert read_credentials(str(path)) == expected
    assert "ya29" not in repr(expected)


@pytest.mark.parametrize(
    ("text", "mode"), [("user\n", 0o600), ("\nsecret\n", 0o600), ("user\nsecret\n", 0o644)]
)
def test_files_that_are_not_used(tmp_path: Path, text: str, mode: int) -> None:
    path = tmp_path / "smarthost"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(WayUnusable) as caught:
        read_credentials(str(path))
    assert str(path) not in str(caught.value)
    with pytest.raises(WayUnusable):
        read_credentials(str(tmp_path / "missing"))
