"""How long a batch waits for a recording, and how often it tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """When an attempt is given up, and when it is made again.

    Attributes:
        attempts: how many, at most.
        first_delay_s: seconds before the second one; three times as many before each further one.
        stall_s: how long an attempt may go without a new frame before it is given up, seconds.
        limit_s: an attempt that takes longer is given up; None for no limit.
        least_free_bytes: with less space on the disk of the results, the batch ends.
    """

    attempts: int = 3
    first_delay_s: float = 5.0
    stall_s: float = 600.0
    limit_s: float | None = None
    least_free_bytes: int = 0

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after this number of attempts."""
        return float(self.first_delay_s * 3 ** (attempts - 1))
