#!/usr/bin/env python3
"""Contract v2 at rcpt: only our own users may write to the addresses named as arguments.

In relevo.toml:

    [[hook]]
    stage = "rcpt"
    target = "hooks/members-only.py"
    arguments = ["staff@example.test"]
"""

import json
import sys


def main() -> None:
    with open(3, encoding="utf-8") as file:
        context = json.load(file)
    if context["auth"] or context["forward_path"] not in sys.argv[1:]:
        return  # nothing answered: accept
    verdict = {"verdict": "reject", "text": "Only members may write to this address"}
    with open(4, "w", encoding="utf-8") as file:
        json.dump(verdict, file)


main()
