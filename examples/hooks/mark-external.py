#!/usr/bin/env python3
"""Contract v2: puts [external] before the subject of mail that no user of ours sent.

In relevo.toml:

    [[hook]]
    stage = "post-data"
    target = "hooks/mark-external.py"
"""

import json
import sys
from email.parser import BytesParser

MARK = "[external] "


def main() -> None:
    with open(3, encoding="utf-8") as file:
        context = json.load(file)
    if context["auth"]:
        return  # nothing answered: accept
    subject = BytesParser().parse(sys.stdin.buffer, headersonly=True).get("Subject", "")
    value = " ".join(str(subject).split())
    if value.startswith(MARK):
        return
    verdict = {"replace_headers": [{"name": "Subject", "value": MARK + value}]}
    with open(4, "w", encoding="utf-8") as file:
        json.dump(verdict, file)


main()
