"""Evaluations as tables: one with all its numbers, or several with a line each and a plot of accuracy against time."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from mrcnn.coco.average_precision import Kind
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

SIZES = ("small", "medium", "large")
MARKERS = {"float32": "o", "bfloat16": "s", "float16": "D", "int8": "^"}
"""Of a precision in the plot."""
PLOT_FORMATS = (".png", ".svg", ".pdf")


def tables(evaluation: Evaluation) -> list[Table]:
    """Masks and boxes by size of the object; by class as well, if there is more than one. 80 columns wide."""
    found = []
    for kind in Kind:
        table = _empty(f"{kind.value}, by area of the object", "objects", "AP", "AP50", "AP75", "AR", "AR50")
        for area, of in evaluation.by_area[kind.value].items():
            table.add_row(AREA_NAMES[area], str(of.objects), *_texts(of.ap, of.ap50, of.ap75, of.ar, of.ar50))
        found.append(table)
    masks, boxes = (evaluation.by_class[kind.value] for kind in (Kind.MASK, Kind.BOX))
    if len(masks) > 1:
        table = _empty("class", "objects", "mask AP", "AP50", "box AP", "AP50")
        for name, mask in masks.items():
            table.add_row(name, str(mask.objects), *_texts(mask.ap, mask.ap50, boxes[name].ap, boxes[name].ap50))
        found.append(table)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A model on an engine, in a precision, and its numbers.

    Attributes:
        model: what the user called it.
        engine: what computed it, such as "openvino".
        precision: such as "int8".
        description: see `Segmenter.description`.
        evaluation: its numbers; None if it could not be measured.
        reason: why not.
    """

    model: str
    engine: str
    precision: str
    description: str = ""
    evaluation: Evaluation | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """Model, engine and precision."""
        return f"{self.model}, {self.engine}, {self.precision}"

    def record(self) -> dict[str, Any]:
        """For JSON."""
        if self.evaluation is not None:
            return {"model": self.description, **self.evaluation.record()}
        return {"model": self.name, "error": self.reason}


def comparison_table(lines: Sequence[Measured]) -> Table:
    """Mask AP by size of the object, box AP, and milliseconds an image, a row for each line. 80 columns wide."""
    columns = ("AP", "AP50", *SIZES, "box AP", "ms")
    table = _empty("mask AP of", *columns)
    notes = ["; ".join(AREA_NAMES[size] for size in SIZES) + " pixels of the image"]
    for line in lines:
        if line.evaluation is None:
            table.add_row(line.name, *["-"] * len(columns))
            notes.append(f"{line.name}: {line.reason}")
            continue
        masks, boxes = (line.evaluation.by_area[kind.value] for kind in (Kind.MASK, Kind.BOX))
        values = [masks["all"].ap, masks["all"].ap50, *(masks[size].ap for size in SIZES), boxes["all"].ap]
        table.add_row(line.name, *_texts(*values), f"{line.evaluation.image_ms:.0f}")
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def comparison_plot(lines: Sequence[Measured], file_format: str) -> bytes:
    """A plot of mask AP against milliseconds an image, as a file of a format: "png", "svg" or "pdf"."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    models = list(dict.fromkeys(line.model for line in lines))
    for line in lines:
        if line.evaluation is None:
            continue
        ap = 100 * line.evaluation.by_area[Kind.MASK.value]["all"].ap
        style = f"{MARKERS.get(line.precision, 'x')}C{models.index(line.model) % 10}"
        axes.plot([line.evaluation.image_ms], [ap], style, markersize=9, label=line.name, clip_on=False)
    axes.set_xscale("log")
    axes.margins(0.15)
    axes.set_ylim(0, min(100, 1.15 * max(axes.dataLim.ymax, 1)))
    shortest, longest = axes.get_xlim()
    few_ticks = LogLocator(subs=(1, 2, 5)) if longest > 10 * shortest else MaxNLocator(8)
    axes.xaxis.set(major_locator=few_ticks, minor_locator=NullLocator(), major_formatter=ScalarFormatter())
    axes.set_xlabel("milliseconds an image (median)")
    axes.set_ylabel("mask AP, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format=file_format, dpi=150)
    return content.getvalue()


def _empty(first: str, *columns: str) -> Table:
    """A table without rows; all columns but the first hold numbers."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(first, overflow="fold", min_width=20)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _texts(*shares: float) -> list[str]:
    """With three digits; "-" where there is no number."""
    return ["-" if math.isnan(share) else f"{share:.3f}" for share in shares]
