"""A process for the camera or the viewers of a run, controlled over a pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from pipeline.errors import RunError

START_DEADLINE_S = 60.0
END_DEADLINE_S = 5.0


class HelperProcess:
    """The process, a context manager.

    Args:
        name: of the process, for error messages too.
        main: runs in it with its end of the pipe; sends something when it is ready, and ends when it receives "end".

    Attributes:
        greeting: what it sent when it was ready.
    """

    def __init__(self, name: str, main: Callable[[Connection], None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=main, args=(self._theirs,), name=name, daemon=True)
        self.greeting: Any = None

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        try:
            self.greeting = self.receive(START_DEADLINE_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send("end")
        self._process.join(END_DEADLINE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(END_DEADLINE_S)
        self._pipe.close()
        self._process.close()

    def send(self, order: Any) -> None:
        """Send an order. Raises RunError if the process has ended."""
        try:
            self._pipe.send(order)
        except OSError:
            raise RunError(f"the process of the {self._name} has ended") from None

    def receive(self, timeout_s: float) -> Any:
        """Its next message. Raises RunError if there is none within that time, or the process has ended."""
        if not self._pipe.poll(timeout_s):
            raise RunError(f"the process of the {self._name} did not answer within {timeout_s:g} s")
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise RunError(f"the process of the {self._name} has ended") from None
