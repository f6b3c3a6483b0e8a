"""Mask AP of a model on annotated photographs."""

from __future__ import annotations

from typing import Any


def mask_ap50(model: dict[str, Any], images: str, annotations: str) -> float:
    """Mask AP at IoU 0.5 over all areas, 0 … 1."""
    raise NotImplementedError
