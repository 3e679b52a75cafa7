"""A crowd of slow clients, in a process of its own: python slow_crowd.py HOST PORT COUNT.

Keeps COUNT connections open from many addresses of 127.0.0.0/8; each says an octet of a command
every few seconds and is replaced when the server ends it. Prints the number that stand, once a
second, until it is killed.
"""

from __future__ import annotations

import random
import resource
import select
import socket
import sys
import time

A_SOURCE = 400  # connections from one address; the server's limit is 500
DRIP_S = 4.0
AT_ONCE = 200  # connections being made
WORDS = b"EHLO slow.test"


class Crowd:
    """The connections, by descriptor."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.address = address
        self.count = count
        self.sockets: dict[int, socket.socket] = {}
        self.sources: dict[int, int] = {}  # descriptor → number of the source
        self.used = [0] * (count // A_SOURCE + 1)
        self.standing: set[int] = set()  # greeted
        self.poll = select.epoll()
        self.replaced = 0

    def fill_up(self) -> None:
        """Open connections that are missing, a bounded number at once."""
        opening = len(self.sockets) - len(self.standing)
        for _ in range(min(self.count - len(self.sockets), AT_ONCE - opening)):
            source = min(range(len(self.used)), key=self.used.__getitem__)
            made = socket.socket()
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: many to a source
            made.bind((f"127.0.1.{source + 1}", 0))
            made.connect_ex(self.address)
            number = made.fileno()
            self.sockets[number], self.sources[number] = made, source
            self.used[source] += 1
            self.poll.register(number, select.EPOLLIN)

    def take_in(self, timeout: float) -> None:
        """Greetings, and ends."""
        for number, _ in self.poll.poll(timeout):
            try:
                data = self.sockets[number].recv(4096)
            except OSError:
                data = b""
            if data.startswith(b"220"):
                self.standing.add(number)
            elif not data:
                self.drop(number)

    def drop(self, number: int) -> None:
        self.poll.unregister(number)
        self.sockets.pop(number).close()
        self.used[self.sources.pop(number)] -= 1
        self.standing.discard(number)
        self.replaced += 1

    def drip(self, share: float) -> None:
        """Some of them say an octet."""
        for number in random.sample(sorted(self.standing), int(len(self.standing) * share)):
            try:
                self.sockets[number].send(WORDS[number % len(WORDS)].to_bytes())
            except OSError:
                self.drop(number)


def main(host: str, port: int, count: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd((host, port), count)
    told = dripped = time.monotonic()
    while True:
        crowd.fill_up()
        crowd.take_in(0.05)
        now = time.monotonic()
        if now - dripped >= 0.5:
            crowd.drip((now - dripped) / DRIP_S)
            dripped = now
        if now - told >= 1:
            print(len(crowd.standing), crowd.replaced, flush=True)
            told = now


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
