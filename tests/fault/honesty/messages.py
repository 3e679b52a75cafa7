"""Messages whose every line says whose it is, so that any write that carries one shows it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fault.load.messages import DOMAIN, USERS
from harness.dialog import Dialog
from harness.server import Address

_HEAD = b"Subject: h\r\n\r\n"
_LINE = 64
SMALLEST, LARGEST = 100, 49_000_000


@dataclass(frozen=True, slots=True)
class Marked:
    """A message of exactly `size` octets. `token`: in each of its lines, in no other message."""

    number: int
    size: int

    @property
    def token(self) -> str:
        return f"TOKEN{self.number:05d}Z"

    @property
    def lines(self) -> int:
        return (self.size - len(_HEAD)) // _LINE

    def line_token(self, line: int) -> bytes:
        return f"{self.token}{line:06d}E".encode()

    def content(self) -> bytes:
        lines = [self.line_token(line).ljust(_LINE - 2, b".") for line in range(self.lines)]
        missing = self.size - len(_HEAD) - _LINE * self.lines
        lines[-1] += b"." * missing
        return _HEAD + b"\r\n".join(lines) + b"\r\n"


def sizes(count: int, largest: int = LARGEST) -> list[int]:
    """Sizes from the smallest to the largest; most are small, as in life."""
    big = [largest, largest, largest // 2, largest // 4, largest // 8]
    small = count - len(big)
    ratio = (largest / 25 / SMALLEST) ** (1 / (small - 1))
    return [round(SMALLEST * ratio**number) for number in range(small)] + big


def send_all(address: Address, messages: list[Marked], *, sessions: int) -> dict[str, Marked]:
    """Over so many sessions at once, every other with BDAT; message id of the server → message."""
    accepted: dict[str, Marked] = {}
    failures: list[BaseException] = []

    def send(number: int) -> None:
        try:
            with Dialog(address, timeout_s=120) as dialog:
                for message in messages[number::sessions]:
                    accepted[_send(dialog, message, uses_bdat=number % 2 == 1)] = message
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return accepted


def _send(dialog: Dialog, message: Marked, *, uses_bdat: bool) -> str:
    dialog.envelope("load@client.test", f"{USERS[message.number % len(USERS)]}@{DOMAIN}")
    content = message.content()
    if uses_bdat:
        dialog.send(b"BDAT %d LAST\r\n" % len(content) + content)
        reply = dialog.reply()
    else:
        reply = dialog.message(content)
    assert reply.code == 250, reply
    return reply.text.rsplit(" ", 1)[1]
