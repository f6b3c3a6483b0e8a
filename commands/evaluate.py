"""`stream_segment.py evaluate`: measures box and mask AP."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Not there yet; return the exit code."""
    raise InputError("evaluate is not available in this version")
