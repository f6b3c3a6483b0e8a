"""The base class of sources that modify another source, such as its pace or its limits."""

from __future__ import annotations

from pipeline.records import Frame, SourceInfo
from pipeline.sources.base import Source


class SourceWrapper(Source):
    """Delegates everything to another source; subclasses override what they change.

    Args:
        inner: the wrapped source, owned by the wrapper.
    """

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.warnings = inner.warnings

    def open(self) -> SourceInfo:
        return self._inner.open()

    def read(self) -> Frame | None:
        return self._inner.read()

    def close(self) -> None:
        self._inner.close()

    def interrupt(self) -> None:
        self._inner.interrupt()

    @property
    def state_text(self) -> str:
        return self._inner.state_text

    @property
    def reopened_as(self) -> SourceInfo | None:
        return self._inner.reopened_as

    @property
    def reconnects(self) -> int:
        return self._inner.reconnects
