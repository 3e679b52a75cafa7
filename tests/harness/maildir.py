"""Reading what a server delivered to a Maildir."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A Maildir folder."""

    path: Path

    def files(self) -> list[Path]:
        """Files of new mail, oldest first."""
        folder = self.path / "new"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def messages(self) -> list[bytes]:
        """New mail as it stands on disk, oldest first."""
        return [path.read_bytes() for path in self.files()]

    def wait(self, count: int = 1, *, timeout_s: float = 15.0) -> list[bytes]:
        """The messages, once there are at least `count` of them."""
        wait_for(
            lambda: len(self.files()) >= count,
            timeout_s=timeout_s,
            what=f"{count} messages in {self.path}",
        )
        return self.messages()


def split_trace(message: bytes) -> tuple[bytes, bytes]:
    """A delivered message as trace fields in front and what the client sent.

    Trace fields are those that a server puts on top: Return-Path, Delivered-To, Received and the
    results of checks, with their folded lines.
    """
    ours = (b"return-path:", b"delivered-to:", b"received:", b"received-spf:", b"authentication-r")
    end = 0
    in_trace = False
    for line in message.splitlines(keepends=True):
        if line[:1] in {b" ", b"\t"}:
            if not in_trace:
                break
        else:
            in_trace = line.lower().startswith(ours)
            if not in_trace:
                break
        end += len(line)
    return message[:end], message[end:]
