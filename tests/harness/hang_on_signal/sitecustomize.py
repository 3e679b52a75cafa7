"""On PYTHONPATH, Python loads this at its start: URG makes a process hang in Python for ever."""

import signal
from types import FrameType


def hang_here(number: int, frame: FrameType | None) -> None:
    """A loop of ours that does not end."""
    del number, frame
    while True:
        pass


signal.signal(signal.SIGURG, hang_here)
