"""The base of sources that change what another source gives (pace, limits) and pass everything else through."""

from __future__ import annotations

from pipeline.records import Frame, SourceInfo
from pipeline.sources.base import Source, SourceState


class SourceWrapper(Source):
    """Passes everything on to the source inside; subclasses override what they change.

    Args:
        inner: the wrapped source; this object owns it from now on.
    """

    def __init__(self, inner: Source) -> None:
        self._inner = inner

    def open(self) -> SourceInfo:
        return self._inner.open()

    def read(self) -> Frame | None:
        return self._inner.read()

    def close(self) -> None:
        self._inner.close()

    def interrupt(self) -> None:
        self._inner.interrupt()

    @property
    def state(self) -> SourceState:
        return self._inner.state

    @property
    def state_text(self) -> str:
        return self._inner.state_text

    @property
    def reopened_as(self) -> SourceInfo | None:
        return self._inner.reopened_as

    @property
    def reconnects(self) -> int:
        return self._inner.reconnects

    @property
    def warnings(self) -> int:
        return self._inner.warnings
