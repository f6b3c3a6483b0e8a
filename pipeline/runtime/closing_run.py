"""A run as a context manager: opened at the beginning of a `with` block and closed at its end."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from pipeline.errors import StreamSegmentError

logger = logging.getLogger(__name__)


class ClosingRun(ABC):
    """What `with` needs of a run. An error while closing never hides one that left the block."""

    @abstractmethod
    def open(self) -> None:
        """Acquire everything, and start."""

    @abstractmethod
    def close(self) -> None:
        """End everything. May be called twice. Raises what went wrong with the run."""

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
