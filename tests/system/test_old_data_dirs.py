"""Data directories of earlier releases open, and a server works on what is in them.

`scripts/make_old_data_dir.py` makes one for each release and says what it holds.
"""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from harness.archives import unpack
from harness.config_dir import ConfigDir, relevo_config
from harness.processes import Reaper
from harness.server import RelevoServer
from harness.waiting import wait_for
from relevo import __version__
from relevo.journal.events import Accepted, Attempted, Done
from relevo.queue import create_database, open_reader
from relevo.queue.store import RecipientState

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = sorted((ROOT / "tests" / "data").glob("data-dir-*.tar.gz"))
SCRIPT = ROOT / "scripts" / "make_old_data_dir.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_old_data_dir", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = load_script()


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> ConfigDir:
    """A site whose data directory an earlier release has written."""
    long = {"history.max_age": "3650d", "queue.give_up_after": "3650d"}
    config = relevo_config(tmp_path / "site", settings=long)
    with tarfile.open(request.param) as archive:
        unpack(archive, config.path)
    return config


def test_there_is_one_of_this_release() -> None:
    names = {path.name for path in ARCHIVES}
    assert f"data-dir-{__version__}.tar.gz" in names, f"run: python {SCRIPT.relative_to(ROOT)}"


def test_messages_units_and_history_are_as_they_were_left(old: ConfigDir) -> None:
    create_database(old.data)
    with open_reader(old.data) as reader:
        assert {str(one.id) for one in reader.messages()} == set(made.MESSAGES)
        for identity, size in made.MESSAGES.items():
            summary, content = reader.message(identity), reader.content(identity)
            assert summary is not None
            assert content is not None
            assert b"".join(content.chunks()) == made.HEAD + b"x" * (size - 2) + b"\r\n"
            assert summary.envelope == made.message(identity, size).envelope
            mail, pipe = summary.units
            assert (mail[0], mail[1], mail[2]) == ("mx:r.test", made.LATER, 1)
            states = [one.state for one in mail[3]]
            assert states == [RecipientState.DELIVERED, RecipientState.PENDING]
            assert (pipe[0], pipe[2]) == ("pipe", 0)
        events = reader.trace(made.GONE).events
        assert [type(event) for event in events] == [Accepted, Attempted, Done]


def test_a_server_works_on_it(old: ConfigDir, reaper: Reaper) -> None:
    server = RelevoServer(reaper, old, options=["--set", "dns.servers=127.0.0.1:1"]).start()

    def pipes() -> list[str]:
        with open_reader(old.data) as reader:
            return [unit[0] for one in reader.messages() for unit in one.units if unit[0] == "pipe"]

    wait_for(lambda: not pipes(), timeout_s=20, what="delivery to the pipes")
    with server.dialog() as dialog:
        dialog.envelope("alice@example.org", "user@d1.test")
        assert dialog.message(b"Subject: new\r\n\r\nx\r\n").code == 250
    old.mailbox("user@d1.test").wait()
    assert server.stop() == 0
    with open_reader(old.data) as reader:
        assert {str(one.id) for one in reader.messages()} == set(made.MESSAGES)
