"""`stream_segment.py optimize`: prepares a fast engine."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Not there yet; return the exit code."""
    raise InputError("optimize is not available in this version")
