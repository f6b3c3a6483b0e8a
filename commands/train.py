"""`stream_segment.py train`: trains on annotated images."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Not there yet; return the exit code."""
    raise InputError("train is not available in this version")
