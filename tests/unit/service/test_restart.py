"""Changes that a reload cannot take up."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.config import Config, ConfigErrors, load
from relevo.service.restart import as_running, keys_for_a_restart, refuse_another_data_dir


def loaded(folder: Path, text: str) -> Config:
    (folder / "relevo.toml").write_text(text)
    return load(folder)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param('limits.connections = 7\nlog.level = "debug"', [], id="taken-up"),
        pytest.param('listen.haproxy = true\nproxy.trusted = "::1"', [], id="proxies"),
        pytest.param(
            'listen.smtp = ":26"\nlisten.submission = ":27"',
            ["listen.smtp", "listen.submission"],
            id="listen",
        ),
        pytest.param(
            'server = { workers = 7, loop = "asyncio" }',
            ["server.workers", "server.loop"],
            id="server",
        ),
        pytest.param('queue.segment_size = "2MiB"', ["queue.segment_size"], id="queue"),
    ],
)
def test_changed_keys_are_named(tmp_path: Path, text: str, keys: list[str]) -> None:
    started = loaded(tmp_path, "")
    assert keys_for_a_restart(started, loaded(tmp_path, text)) == keys


def test_another_data_dir_is_refused_at_its_line(tmp_path: Path) -> None:
    started = loaded(tmp_path, 'data_dir = "/srv/one"')
    refuse_another_data_dir(started.data_dir, started)
    config = loaded(tmp_path, '\ndata_dir = "/srv/two"')
    with pytest.raises(ConfigErrors, match=r"relevo.toml:2: data_dir: the server runs on /srv/one"):
        refuse_another_data_dir(started.data_dir, config)


def test_what_workers_share_is_shared_by_those_that_run(tmp_path: Path) -> None:
    started = loaded(tmp_path, "server.workers = 3")
    running = as_running(loaded(tmp_path, "server.workers = 7\nlimits.connections = 9"), started)
    assert (running.server.workers, running.limits.connections) == (3, 9)
