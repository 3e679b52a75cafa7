"""Backups and repairs of a server that works."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from harness.config_dir import Domain, Setting
from harness.server import RelevoFactory, RelevoServer, run_relevo
from relevo.queue import open_reader

ALIASES = "far: far@r.test\nboth: user, far@r.test\n"
SETTINGS: dict[str, Setting] = {
    "queue.segment_size": "1MiB",
    "queue.inline_size": 100,
    "dns.servers": "127.0.0.1:1",
}
BODY = b"Subject: x\r\n\r\n" + b"some line of the message\r\n" * 2000


def start(start_relevo: RelevoFactory) -> RelevoServer:
    return start_relevo(
        domains={"d1.test": Domain({"user": "secret"}, aliases=ALIASES)}, settings=SETTINGS
    )


def send(server: RelevoServer, recipient: str, count: int) -> None:
    with server.dialog() as dialog:
        for _ in range(count):
            dialog.envelope("alice@example.org", recipient)
            assert dialog.message(BODY).code == 250


def check(folder: Path) -> int:
    """Every message of the copy is whole; how many there are."""
    with open_reader(folder) as reader:
        found = list(reader.messages())
        for summary in found:
            content = reader.content(summary.id)
            assert content is not None
            assert BODY in b"".join(content.chunks())
        assert reader.counts().messages == len(found)
    return len(found)


def test_backups_under_load_are_whole(start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = start(start_relevo)
    send(server, "far@d1.test", 5)
    stop = threading.Event()

    def load(recipient: str) -> None:
        while not stop.is_set():
            send(server, recipient, 20)

    threads = [
        threading.Thread(target=load, args=(one,)) for one in ("user@d1.test", "both@d1.test")
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            target = tmp_path / f"copy-{number}"
            command = run_relevo(
                server.reaper, "backup", "-C", server.config.path, target, folder=tmp_path
            )
            assert command.popen.returncode == 0, command.output()
            assert check(target) >= 5
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert server.stop() == 0


def test_a_restored_backup_is_served(start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = start(start_relevo)
    send(server, "far@d1.test", 3)
    copy = tmp_path / "copy"
    run_relevo(server.reaper, "backup", "-C", server.config.path, copy, folder=tmp_path)
    send(server, "far@d1.test", 2)
    server.stop()
    shutil.rmtree(server.config.data)
    copy.rename(server.config.data)
    server.start()
    send(server, "user@d1.test", 1)
    server.config.mailbox("user@d1.test").wait()
    assert server.stop() == 0
    assert check(server.config.data) == 3


def test_a_damaged_database_keeps_the_server_from_starting_until_it_is_repaired(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start(start_relevo)
    send(server, "far@d1.test", 3)
    server.stop()
    (server.config.data / "queue.db").write_bytes(b"damaged" * 1000)
    process = server.launch()
    assert process.wait(20) == 3
    assert "relevo queue repair" in process.output()
    command = run_relevo(
        server.reaper, "queue", "repair", "-C", server.config.path, folder=tmp_path
    )
    assert command.popen.returncode == 0, command.output()
    server.start()
    send(server, "user@d1.test", 1)
    server.config.mailbox("user@d1.test").wait()
    assert server.stop() == 0
    assert check(server.config.data) == 3
