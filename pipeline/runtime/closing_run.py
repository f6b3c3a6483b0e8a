"""A run as a context manager: opened at the beginning of a `with` block and closed at its end, or the program's."""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

from pipeline.errors import StreamSegmentError

logger = logging.getLogger(__name__)

EXIT_DEADLINE_S = 5.0
"""How long the end of the program waits for another thread to close the run that it has opened."""


class ClosingRun(ABC):
    """What `with` needs of a run. An error while closing never hides one that left the block."""

    _wall_s: float | None = None
    """How long the run took, seconds, once it is closed."""

    @abstractmethod
    def open(self) -> None:
        """Acquire everything, and start; then call `closes_at_exit`."""

    @abstractmethod
    def stop(self) -> None:
        """Request the end; from any thread."""

    @abstractmethod
    def close(self) -> None:
        """End everything. May be called twice. Raises what went wrong with the run."""

    def closes_at_exit(self) -> None:
        """Close the run at the end of the program, if nobody does before.

        Python would kill its threads inside the network's native code, which aborts the process.
        """
        _opened[self] = threading.current_thread()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StreamSegmentError:
            if error is None:
                raise
            logger.debug("while closing after %r", error, exc_info=True)


_opened: WeakKeyDictionary[ClosingRun, threading.Thread] = WeakKeyDictionary()
"""Runs, each with the thread that has opened it."""


@atexit.register
def _close_all() -> None:
    left = {run: thread for run, thread in _opened.items() if run._wall_s is None}
    for run in left:
        run.stop()
    for run, thread in left.items():
        if thread is not threading.current_thread():
            thread.join(EXIT_DEADLINE_S)
        with contextlib.suppress(StreamSegmentError):
            run.close()
