"""What the lab says while it works: one line a step, with the seconds since the start."""

import sys
import time

_start = time.monotonic()


class LabError(Exception):
    """Something the user can mend: the text says what, and how."""


def step(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _start:6.1f}s  {text}\n")
    sys.stderr.flush()
