"""Hides the differences between the supported releases of PyAV (18 on Python 3.11, 19 on newer ones)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import av
import av.container

_ANY_BYTES_IN_TAGS: dict[str, Any] = (
    {"metadata_errors": "replace"} if hasattr(av.container.InputContainer, "metadata_errors") else {}
)
"""Up to PyAV 18, files with tags that are not UTF-8 open only with this argument, which 19 no longer has."""


class _Rational(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def open_input(
    location: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL for reading, even if its tags are not UTF-8. Raises av.FFmpegError."""
    timeout = None if timeout_s is None else (timeout_s, timeout_s)
    container: av.container.InputContainer = av.open(
        location, options=options or {}, timeout=timeout, **_ANY_BYTES_IN_TAGS
    )
    return container


def fraction(value: _Rational | None) -> Fraction | None:
    """Converts a rate, time base or aspect ratio. Returns None if unset: None in PyAV 18, 0/1 or 0/0 in 19."""
    return Fraction(value.numerator, value.denominator) if value else None
