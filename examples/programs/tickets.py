#!/usr/bin/env python3
"""A pipe alias's command: each message becomes a row of an SQLite database.

In domains/DOMAIN/aliases, with the paths of the program and of the database:

    tickets: | /srv/tickets/tickets.py /srv/tickets/tickets.db

Exit 0 means delivered, 75 means later, anything else is a bounce. After a crash the command may run
again for the same message; the key of the row sees to it that it counts once.
"""

import os
import sqlite3
import sys
from email.parser import BytesParser
from email.policy import default

LATER = 75  # EX_TEMPFAIL of sysexits.h


def main(database: str) -> int:
    message = BytesParser(policy=default).parse(sys.stdin.buffer)
    body = message.get_body(("plain", "html"))
    row = (
        os.environ["MESSAGE_ID"],
        os.environ["RECIPIENT"],
        os.environ["SENDER"],
        str(message["Subject"] or ""),
        body.get_content() if body else "",
    )
    try:
        with sqlite3.connect(database) as tickets:
            tickets.execute(
                "CREATE TABLE IF NOT EXISTS ticket"
                " (id, recipient, sender, subject, text, PRIMARY KEY (id, recipient))"
            )
            tickets.execute("INSERT OR IGNORE INTO ticket VALUES (?, ?, ?, ?, ?)", row)
    except sqlite3.OperationalError as error:
        print(error)  # goes to the mail log and to `relevo queue list`
        return LATER
    return 0


sys.exit(main(sys.argv[1]))
