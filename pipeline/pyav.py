"""What differs between the releases of PyAV that the program runs on (18 on Python 3.11, 19 on newer ones)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import av
import av.container

_ANY_BYTES_IN_TAGS: dict[str, Any] = (
    {"metadata_errors": "replace"} if hasattr(av.container.InputContainer, "metadata_errors") else {}
)
"""Up to PyAV 18, a tag that is not UTF-8 keeps a file from opening unless this is passed. 19 has no such argument."""


class _Rational(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def open_input(
    location: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL for reading, whatever bytes its tags contain. Raises av.FFmpegError."""
    timeout = None if timeout_s is None else (timeout_s, timeout_s)
    container: av.container.InputContainer = av.open(
        location, options=options or {}, timeout=timeout, **_ANY_BYTES_IN_TAGS
    )
    return container


def fraction(value: _Rational | None) -> Fraction | None:
    """A rate, time base or aspect ratio; None if it is not set, which PyAV 18 gives as None, and 19 as 0/1 or 0/0."""
    return Fraction(value.numerator, value.denominator) if value else None
