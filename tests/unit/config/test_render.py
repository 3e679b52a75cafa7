from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.config import Config, load, render_json, render_toml

OWN = """
hostname = "mx.test"
[listen]
smtp = ["127.0.0.1:2525", "[::1]:0"]
[smtp]
max_message_size = 1234567
[queue]
give_up_after = "1h30m"
[addresses]
suffix_separators = "\\"\\\\\\u0001+"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "relevo.toml").write_text(OWN)
    return load(tmp_path, ["limits.recipients=7"])


def test_what_is_shown_loads_as_the_same_configuration(config: Config) -> None:
    (config.config_dir / "relevo.toml").write_text(render_toml(config))
    assert load(config.config_dir) == replace(config, warnings=())


def test_each_value_says_where_it_came_from(config: Config) -> None:
    lines = render_toml(config).splitlines()
    assert f"# The configuration in force, from {config.config_dir}/relevo.toml" in lines
    assert 'hostname = "mx.test"  # relevo.toml:2' in lines
    assert "recipients = 7  # --set" in lines
    assert "max_message_size = 1234567  # relevo.toml:6" in lines
    assert 'give_up_after = "1h30m"  # relevo.toml:8' in lines
    assert 'data_dir = "/var/lib/relevo"  # default' in lines


def test_the_origin_may_be_the_profile(config: Config) -> None:
    config = load(config.config_dir, ["profile=chasquid"])
    assert 'local = "mda"  # profile chasquid' in render_toml(config).splitlines()


def test_json_has_values_and_origins(config: Config) -> None:
    document = json.loads(render_json(config))
    assert document["config_dir"] == str(config.config_dir)
    assert document["config"]["hostname"] == "mx.test"
    assert document["config"]["listen"]["smtp"] == ["127.0.0.1:2525", "[::1]:0"]
    assert document["config"]["queue"]["give_up_after"] == "1h30m"
    assert document["config"]["smtp"]["max_message_size"] == 1234567
    assert document["origins"]["limits.recipients"] == "--set"
    assert document["origins"]["hostname"] == "relevo.toml:2"
    assert document["warnings"] == []
