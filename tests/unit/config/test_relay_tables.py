"""[[relay_domain]] tables and the networks that may relay."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load


def loaded(folder: Path, text: str) -> Config:
    (folder / "relevo.toml").write_text(text)
    return load(folder)


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigErrors) as errors:
        loaded(folder, text)
    return str(errors.value)


def test_domains_are_normalized_and_their_lists_placed(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        '[[relay_domain]]\ndomain = "XN--BCHER-KVA.example"\n'
        '[[relay_domain]]\ndomain = "b.test"\nrecipients = "b.list"\n',
    )
    first, second = config.relay_domain
    assert (first.domain, first.recipients) == ("bücher.example", "")
    assert (second.domain, second.recipients) == ("b.test", str(tmp_path / "b.list"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[relay_domain]]\n", "relay_domain.domain: it is needed"),
        ('[[relay_domain]]\ndomain = "a b"\n', "'a b' is no domain"),
        ('[[relay_domain]]\ndomain = "a.test"\nrecipient = "x"\n', "did you mean recipients?"),
        ('relay_domain = "a.test"\n', "not an array of tables"),
        ('[relay]\nnetworks = ["0.0.0.0/0"]\n', "open relay"),
        ('[relay]\nnetworks = ["::/0"]\n', "open relay"),
        ('[relay]\nnetworks = ["192.0.2.1/24"]\n', "is no network"),
        ('[submission]\nallow_senders = ["ada"]\n', "names no user and addresses"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, text)
    assert said in found
    assert "relevo.toml:" in found


def test_nobody_relays_by_default_and_new_installations_rewrite(tmp_path: Path) -> None:
    config = loaded(tmp_path, "")
    assert config.relay.networks == ()
    assert config.relay_domain == ()
    assert config.forwarding.rewrite == "srs"
    assert loaded(tmp_path, 'profile = "chasquid"\n').forwarding.rewrite == "chasquid"
