"""An evaluation as tables for a terminal, 80 columns wide."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table

from mrcnn.coco.average_precision import AveragePrecision, Kind
from pipeline.evaluation.scoring import Evaluation

AREA_NAMES = {
    "all": "all",
    "small": "small: below 32²",
    "medium": "medium: 32² to 96²",
    "large": "large: above 96²",
    "32_to_64": "32² to 64²",
    "above_64": "above 64²",
}
"""What the tables call the sizes of `average_precision.AREAS`, in pixels of the image."""


def tables(evaluation: Evaluation) -> list[Table]:
    """Masks and boxes by size of the object; by class as well, if there is more than one."""
    found = [_by_size(evaluation, kind) for kind in Kind]
    if len(evaluation.by_class[Kind.MASK.value]) > 1:
        found.append(_by_class(evaluation))
    return found


def _by_size(evaluation: Evaluation, kind: Kind) -> Table:
    table = empty_table(f"{kind.value}, by area of the object", "objects", "AP", "AP50", "AP75", "AR", "AR50")
    for area, numbers in evaluation.by_area[kind.value].items():
        values = (numbers.ap, numbers.ap50, numbers.ap75, numbers.ar, numbers.ar50)
        table.add_row(AREA_NAMES[area], str(numbers.objects), *map(number_text, values))
    return table


def _by_class(evaluation: Evaluation) -> Table:
    table = empty_table("class", "objects", "mask AP", "AP50", "box AP", "AP50")
    masks, boxes = (evaluation.by_class[kind.value] for kind in (Kind.MASK, Kind.BOX))
    for name, mask in masks.items():
        box_numbers: AveragePrecision = boxes[name]
        values = (mask.ap, mask.ap50, box_numbers.ap, box_numbers.ap50)
        table.add_row(name, str(mask.objects), *map(number_text, values))
    return table


def empty_table(first: str, *columns: str) -> Table:
    """A table without rows; all columns but the first hold numbers."""
    table = Table(first, box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def number_text(value: float) -> str:
    """A share 0 … 1 with three digits; "-" where there is none."""
    return "-" if math.isnan(value) else f"{value:.3f}"
