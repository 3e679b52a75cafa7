"""The settings of a hook: read as a type of its own, and refused with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.hook import BadSettings, Settings, secret, settings
from relevo.hook.settings import read_settings
from relevo.hooks.contract.json_form import SETTINGS_VARIABLE


class Mine(Settings, frozen=True):
    url: str
    score: float = 1.0


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, '{"url": "u", "score": 3}')
    assert settings(Mine) == Mine("u", 3.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing required field `url`"),
        ('{"url": 3}', "Expected `str`, got `int` - at `settings.url`"),
        ('{"url": "u", "scores": 1}', "unknown field `scores`"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        read_settings(Mine, text)


def test_a_secret_is_one_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("word\n")
    assert secret(str(file)) == "word"
    for text in ("", "a\nb\n"):
        file.write_text(text)
        with pytest.raises(BadSettings, match="must hold one line"):
            secret(str(file))
    with pytest.raises(BadSettings, match="cannot be read"):
        secret(str(tmp_path / "none"))
