"""A wall clock that is set again and again, as the program reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from pipeline.runtime.camera_entry import CameraEntry
from pipeline.sinks.segments import SegmentRecorder
from pipeline.sinks.switched_recorder import SwitchedRecorder

JUMPS = (timedelta(days=-20_000), timedelta(hours=-1), timedelta(days=4000), timedelta(0))
"""Differences from the real time, in turn: 1972, as before a machine without a battery gets the time; summer time
ends; 2037; right."""
_READERS: tuple[type[Any], ...] = (SegmentRecorder, SwitchedRecorder, CameraEntry)
"""Whatever takes a `wall_clock`."""


@contextlib.contextmanager
def replaced_defaults(readers: Sequence[type[Any]], replacements: Mapping[object, object]) -> Iterator[None]:
    """Replaces what classes read if nothing else is given to them: the defaults of their constructors."""
    with contextlib.ExitStack() as undo:
        for reader in readers:
            make: Callable[..., None] = reader.__init__
            defaults = tuple(replacements.get(default, default) for default in make.__defaults__ or ())
            assert defaults != make.__defaults__, f"{reader.__name__} reads nothing that is replaced"
            undo.enter_context(mock.patch.object(make, "__defaults__", defaults))
        yield


class JumpingClock:
    """Replaces the wall clock of the program, a context manager.

    Attributes:
        jumps: how often it was set.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._shift = timedelta(0)
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> JumpingClock:
        self._undo.enter_context(replaced_defaults(_READERS, {datetime.now: self.now}))
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def jump(self) -> None:
        """Set it to the next time."""
        self._shift = JUMPS[self.jumps % len(JUMPS)]
        self.jumps += 1

    def year_after(self, jumps: int) -> int:
        """The year that the clock shows after a number of jumps."""
        return (datetime.now() + JUMPS[(jumps - 1) % len(JUMPS)]).year

    def now(self) -> datetime:
        """Local time."""
        return datetime.now() + self._shift
