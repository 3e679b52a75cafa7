"""The command line: `relevo …`, one module a group of commands, imported when it is used.

Exit codes, the same for all commands: 0 done; 1 the answer is no (nothing found, not valid, login
failed); 2 wrong usage; 3 the configuration or a file is not right; 4 the server is not running;
70 a fault in relevo itself.
"""

from relevo.cli.main import main

__all__ = ["main"]
