"""The clock of the watchdogs: it stands still while the run does."""

import time

SLICE = 1.0
"""Seconds to wait at most before the clock is read again."""


class AwakeClock:
    """Counts the seconds in which this process could run.

    While it is suspended (Ctrl-Z, a batch system that makes room for others, a closed lid) so are
    its simulators, which therefore do not hang. Whoever waits reads the clock every `SLICE`; of
    what lies between two readings no more than twice as long counts.
    """

    def __init__(self) -> None:
        self._seconds, self._read = 0.0, time.monotonic()

    def now(self) -> float:
        """Return how many seconds there were until now."""
        read = time.monotonic()
        self._seconds += min(read - self._read, 2 * SLICE)
        self._read = read
        return self._seconds
