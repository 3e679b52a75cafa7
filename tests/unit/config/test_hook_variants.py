"""Shadows and canaries in the configuration: what makes no sense is said, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load
from relevo.config.hook_variants import share_of

LIVE = '[[hook]]\nname = "old"\ntarget = "old"\n'
NEW = '[[hook]]\nname = "new"\ntarget = "new"\n'


def loaded(tmp_path: Path, toml: str) -> Config:
    (tmp_path / "relevo.toml").write_text(f'hostname = "mx.test"\n{toml}')
    return load(tmp_path)


def test_variants_are_told_from_live_hooks(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        LIVE
        + NEW
        + 'shadow = true\nshadow_of = "old"\n'
        + '[[hook]]\nname = "all"\ntarget = "x"\nshadow = true\n'
        + '[[hook]]\nname = "some"\ntarget = "x"\ncanary = "2.5%"\ncanary_of = "hooks/post-data"\n',
    )
    assert [hook.is_variant for hook in config.hook] == [False, True, True, True]
    assert [hook.role for hook in config.hook] == [
        "", "shadow of old", "shadow of the stage", "canary, 2.5% of hooks/post-data"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ('shadow_of = "old"', "it is set, and the hook is no shadow"),
        ('shadow = true\nshadow_of = "odl"', "no hook at post-data is called 'odl'"),
        ('shadow = true\ncanary_of = "old"\ncanary = "1%"', "a shadow cannot be a canary too"),
        ('canary_of = "old"', "canary and canary_of need each other"),
        ('canary = "5%"', "canary and canary_of need each other"),
        ('canary = "101%"\ncanary_of = "old"', "'101%' is no share"),
        ('canary = "5"\ncanary_of = "old"', "'5' is no share"),
        ('canary = "5%"\ncanary_of = "old"\ncanary_tolerance = "x"', "'x' is no share"),
        ('canary = "5%"\ncanary_of = "old"\nstage = "rcpt"', "no hook at rcpt is called 'old'"),
        ('shadow = true\nstage = "alias-resolve"', "has no shadows and canaries"),
    ],
)
def test_what_makes_no_sense_is_a_problem(tmp_path: Path, keys: str, text: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        loaded(tmp_path, f"{LIVE}{NEW}{keys}\n")
    (problem,) = raised.value.problems
    assert text in problem.text
    assert problem.line > 4


def test_a_variant_has_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="there is another hook 'old'"):
        loaded(tmp_path, LIVE + '[[hook]]\ntarget = "x/old"\nshadow = true\nshadow_of = "old"\n')


def test_shares() -> None:
    assert (share_of("10%"), share_of("0 %"), share_of("0.5%")) == (0.1, 0.0, 0.005)
