"""A worker that crashes where standard error is a console of Windows: it takes nothing once descriptor 2 is a file."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any, NoReturn


class Console(io.TextIOBase):
    """See `_WindowsConsoleIO` of CPython, which writes by WriteConsoleW to the handle of the descriptor."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.EBADF, "The handle is invalid")


class Crash:
    """In place of what makes a network; brings the console along to the process of the worker."""

    def __call__(self, _: object) -> NoReturn:
        raise ZeroDivisionError("no network")

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, ()


def _arrived() -> Crash:
    sys.stderr = Console()
    return Crash()
