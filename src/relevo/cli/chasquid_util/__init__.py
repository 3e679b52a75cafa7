"""`relevo chasquid-util`: what chasquid-util does, for scripts that call it.

Its commands with its arguments, answers and exit codes (0 or 1). An alias or a link of two lines
makes it the command of that name; see docs/how-to/move-from-chasquid.md.
"""

from relevo.cli.chasquid_util.command import chasquid_util

__all__ = ["chasquid_util"]
