"""Keeps lines that repeat from filling a log."""

from __future__ import annotations

import logging

from pipeline.labels import plural
from pipeline.records import Clock

LOG_EVERY_S = 600.0
"""How often the repetitions of a line are logged."""


class ThrottledLog:
    """Logs a line at once, and its repetitions as one line with their number every `LOG_EVERY_S`.

    A camera that is lost and back every few seconds, for days, fills the log otherwise.

    Args:
        log: gets the lines.
        clock: seconds, monotonic.
    """

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._since_s = 0.0
        self._repetitions: dict[tuple[int, str], int] = {}  # the line that came last is the last one

    def write(self, level: int, text: str) -> None:
        """Log a line, or count it as a repetition."""
        self.summarize()
        if not self._repetitions:
            self._since_s = self._clock()
        count = self._repetitions.pop((level, text), None)
        if count is None:
            self._log.log(level, "%s", text)
        self._repetitions[level, text] = 0 if count is None else count + 1

    def summarize(self, at_end: bool = False) -> None:
        """Log the repetitions if they are due, or `at_end`."""
        passed_s = self._clock() - self._since_s
        if not self._repetitions or (passed_s < LOG_EVERY_S and not at_end):
            return
        repeated = {line: count for line, count in self._repetitions.items() if count}
        for (level, text), count in repeated.items():
            period = plural(max(1, round(passed_s / 60)), "minute").removeprefix("1 ")
            self._log.log(level, "%s (%s in the last %s)", text, plural(count, "more time"), period)
        self._since_s += passed_s
        self._repetitions = {} if at_end else dict.fromkeys(repeated, 0)
