"""Progress of a download: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import IO

from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

from pipeline.console.progress_display import ProgressDisplay, time_columns

LINE_EVERY_PERCENT = 10


class DownloadProgress(ProgressDisplay):
    """Shows the progress of one file.

    Args:
        name: display name of the file.
        size: its size in bytes.
        output: the stream to write to; by default standard error.
    """

    def __init__(self, name: str, size: int, output: IO[str] | None = None) -> None:
        super().__init__(output)
        self._name = name
        self._size = size
        self._next_percent = 0
        self._add_bar(name, size, (BarColumn(), DownloadColumn(), TransferSpeedColumn(), *time_columns()))

    def set(self, received: int) -> None:
        """Show that `received` bytes have arrived."""
        self._move_bar(received)
        if self.has_bar:
            return
        percent = 100 * received // self._size
        if percent >= self._next_percent:
            self.note(f"{self._name}: {percent} % ({received / 1e6:.1f} of {self._size / 1e6:.1f} MB)")
            self._next_percent = percent - percent % LINE_EVERY_PERCENT + LINE_EVERY_PERCENT
