"""Shows how far a download is: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

LINE_EVERY_PERCENT = 10


class DownloadProgress:
    """Progress of one file.

    Args:
        name: what is downloaded.
        size: its length, bytes.
        console: where it is shown.
    """

    def __init__(self, name: str, size: int, console: Console) -> None:
        self._name = name
        self._size = size
        self._console = console
        self._next_percent = 0
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console)
            self._task = self._bar.add_task(name, total=size)

    def set(self, received: int) -> None:
        """So many bytes are there now."""
        if self._bar is not None:
            self._bar.update(self._task, completed=received)
            return
        percent = 100 * received // self._size
        if percent >= self._next_percent:
            self.note(f"{self._name}: {percent} % ({received / 1e6:.1f} of {self._size / 1e6:.1f} MB)")
            self._next_percent = percent - percent % LINE_EVERY_PERCENT + LINE_EVERY_PERCENT

    def note(self, text: str) -> None:
        """One line of text, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
