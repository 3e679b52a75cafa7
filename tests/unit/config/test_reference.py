"""The page and the example say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from relevo.config import Config, load
from relevo.config.reference import EXAMPLE, PAGE, example, main, reference_page
from relevo.config.schema import KEYS

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("path", "text"), [(PAGE, reference_page()), (EXAMPLE, example())], ids=["page", "example"]
)
def test_the_files_are_up_to_date(path: Path, text: str) -> None:
    assert (TOP / path).read_text() == text, "run: python -m relevo.config.reference ."


def test_main_writes_both_files(tmp_path: Path) -> None:
    main(tmp_path)
    assert (tmp_path / PAGE).read_text() == reference_page()
    assert (tmp_path / EXAMPLE).read_text() == example()


def test_every_key_has_a_row_and_a_place_in_the_example() -> None:
    tree = tomllib.loads(re.sub(r"(?m)^#(?=\w)", "", example()))
    for key in KEYS.values():
        assert f"| `{key.field}` | " in reference_page()
        assert key.field in (tree[key.section] if key.section else tree)


def test_the_example_as_it_stands_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text(example())
    assert set(load(tmp_path).origins.values()) == {"default", "system"}


def test_the_example_uncommented_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text(re.sub(r"(?m)^#(?=\w)", "", example()))
    config = load(tmp_path)
    defaults = Config()
    for key in KEYS.values():
        if key.name != "hostname":
            assert key.value_in(config) == key.value_in(defaults), key.name
