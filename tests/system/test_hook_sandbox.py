"""A server whose hooks shall be in a sandbox: it has one, or it does not start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.server import RELEVO, RelevoFactory
from relevo.hooks.sandbox import Sandbox
from relevo.hooks.sandbox_trial import why_not
from system.test_hook_stages import message_id, program, send, start

NO_NAMESPACES = (
    "unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh",
)  # fmt: skip


@pytest.mark.skipif(bool(why_not(Sandbox())), reason=f"no sandbox here: {why_not(Sandbox())}")
def test_hooks_of_a_running_server_are_kept_to_it(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, '\n[hooks]\nsandbox = true\nwritable = ["state"]\n')
    folder = server.config.path
    (folder / "state").mkdir()
    (folder / "hooks").mkdir(exist_ok=True)
    text = f"echo x > {folder}/state/yes; (echo x > {folder}/no) 2>/dev/null; cat > /dev/null"
    program(folder / "hooks", "post-data", text)
    assert message_id(send(server))
    assert (folder / "state" / "yes").exists()
    assert not (folder / "no").exists()


def test_where_there_is_none_the_server_does_not_start(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    server.stop()
    path: Path = server.config.path / "relevo.toml"
    path.write_text(path.read_text() + "\n[hooks]\nsandbox = true\n")
    for command in ("serve", "check"):
        words = [*NO_NAMESPACES, str(RELEVO), command, "--config-dir", str(server.config.path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        said = done.stdout + done.stderr
        assert done.returncode == 3, said
        assert "hooks cannot be put into a sandbox here" in said
        assert "user.max_user_namespaces" in said
