"""Ctrl-C and SIGTERM during a training run: the first ends it after the current step, the second at once."""

from __future__ import annotations

import os
from types import FrameType
from typing import Protocol

from pipeline.commands.signals import unwind


class Stoppable(Protocol):
    """A training run that can end after its current step."""

    def stop(self) -> None:
        """End after the current step."""


class StopRequest:
    """Passes signals on to the trainer.

    Attributes:
        signal: the number of the last signal, None before the first.
        trainer: the run to stop; None while there is nothing worth saving.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.trainer: Stoppable | None = None

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler."""
        again = self.signal is not None
        self.signal = number
        if again or self.trainer is None:
            unwind(number, None)
        self.trainer.stop()
        # A print that interrupts another one, of the progress, raises RuntimeError.
        os.write(2, b"stopping after this step; once more to stop at once\n")
