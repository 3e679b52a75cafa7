#!/usr/bin/env python3
"""Contract v2 at connect, form worker: refuses clients of the networks in a file, one a line.

The file is read once and again when it changes; that is what the process stays for.

    [[hook]]
    stage = "connect"
    form = "worker"
    target = "hooks/block-networks.py"
    arguments = ["blocked-networks"]
"""

import json
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path


class Networks:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._networks: list = []

    def has(self, address: str) -> bool:
        changed_at = self._path.stat().st_mtime_ns if self._path.exists() else 0
        if changed_at != self._read_at:
            lines = self._path.read_text().split() if changed_at else []
            self._networks = [ip_network(line, strict=False) for line in lines]
            self._read_at = changed_at
        return any(ip_address(address) in network for network in self._networks)


def main() -> None:
    networks = Networks(Path(sys.argv[1]))
    for line in sys.stdin:  # at connect there is no message behind it
        call = json.loads(line)
        answer = {}
        if networks.has(call["context"]["client"]["ip"]):
            answer = {"verdict": "reject", "text": "Your network is on our list"}
        print(json.dumps({"id": call["id"], "answer": answer}), flush=True)


main()
