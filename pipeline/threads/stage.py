"""A stage: one thread between slots, whose failure becomes "closed with this error"."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.errors import RunError, StageStuckError, StreamSegmentError
from pipeline.threads.slot import Slot, SlotClosed

logger = logging.getLogger(__name__)

THREAD_PREFIX = "stream_segment "
"""How the names of all our threads begin."""


class FirstError:
    """Keeps the first error of a run: the ones after it are mostly its consequences.

    Args:
        on_first: called once, in the failing thread, after the first error was stored.
    """

    def __init__(self, on_first: Callable[[], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._on_first = on_first

    @property
    def error(self) -> BaseException | None:
        """The first error reported; None while all is well."""
        return self._error

    def report(self, stage_name: str, error: BaseException) -> None:
        """Store the error if it is the first; a foreign one is wrapped into a RunError that names the stage."""
        logger.debug("%s failed", stage_name, exc_info=error)
        if not isinstance(error, StreamSegmentError):
            what = " ".join(str(error).split())  # some libraries explain themselves in many lines
            wrapped = RunError(f"{stage_name} failed: {type(error).__name__}: {what}")
            wrapped.__cause__ = error
            error = wrapped
        with self._lock:
            if self._error is not None:
                return
            self._error = error
        if self._on_first is not None:
            self._on_first()

    @contextmanager
    def guard(self, stage_name: str, kinds: type[BaseException] = Exception) -> Iterator[None]:
        """Report what fails inside the block; a slot that closes under it just ends the block.

        Args:
            stage_name: named in the error.
            kinds: what is reported. In a thread of our own that is BaseException: there, SystemExit and
                KeyboardInterrupt would reach nobody. In the caller's thread they propagate.
        """
        try:
            yield
        except SlotClosed:
            pass
        except kinds as error:  # the one place where a stage's failure is turned into a record
            self.report(stage_name, error)

    def raise_if_any(self) -> None:
        """Raise the first error, if there is one."""
        if self._error is not None:
            raise self._error


class Stage:
    """Owns a thread that runs `work` until it returns, a slot closes under it, or it fails.

    However it ends, its outlets are closed (the next stage drains what is inside) and its inlets are closed and emptied
    (the stage before it wakes up and ends).

    Args:
        name: said in errors ("capture", "inference").
        work: the loop; it may let SlotClosed pass.
        errors: where a failure is reported.
        inlets, outlets: the slots that it reads from and writes to.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        errors: FirstError,
        inlets: Sequence[Slot[Any]] = (),
        outlets: Sequence[Slot[Any]] = (),
    ) -> None:
        self.name = name
        self._work = work
        self._errors = errors
        self._inlets = inlets
        self._outlets = outlets
        self._thread = threading.Thread(target=self._main, name=THREAD_PREFIX + name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` for the thread to end; returns whether it has, or was never started."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def join(self, deadline_s: float) -> None:
        """Wait for the thread to end; raises StageStuckError, naming the stage, after `deadline_s` seconds."""
        if not self.wait(deadline_s):
            raise StageStuckError(f"{self.name} did not end within {deadline_s:g} s; the program ends without it")

    def _main(self) -> None:
        with self._errors.guard(self.name, BaseException):
            self._work()
        for slot in self._inlets:
            slot.close(discard=True)
        for slot in self._outlets:
            slot.close()
