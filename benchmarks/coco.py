"""Mask AP of a model on annotated photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import models
from pipeline.evaluation.scoring import evaluate, read_ground_truth

MIN_SCORE = 0.03
"""The default of the command `evaluate`."""


def mask_ap(model: dict[str, Any], images: str, annotations: str) -> dict[str, float]:
    """Mask AP over all sizes, 0 … 1: "AP", the mean over overlaps of 0.5 to 0.95, and "AP50"."""
    with models.opened({**model, "min_score": MIN_SCORE}) as segmenter:
        mask = evaluate(segmenter, read_ground_truth(Path(annotations)), Path(images)).by_area["mask"]["all"]
    return {"AP": mask.ap, "AP50": mask.ap50}
