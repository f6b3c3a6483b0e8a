"""The options of the rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Options:
    """How to measure a row.

    Attributes:
        quick: fewer rounds, to test that everything runs; the numbers scatter more.
        weights: ResNet-101 weights with 81 classes; None: COCO's if they are installed, else seeded ones.
        original: a Python interpreter with Matterport's package; None: its stored time is used.
        torchvision, ultralytics: Python interpreters that have these packages; None: left out.
        coco_images, coco_annotations: photographs with COCO annotations, for the AP of the small model; None: left out.
        model: settings of the measured engine that override the automatic choice.
    """

    quick: bool = False
    weights: str | None = None
    original: str | None = None
    torchvision: str | None = None
    ultralytics: str | None = None
    coco_images: str | None = None
    coco_annotations: str | None = None
    model: dict[str, Any] = field(default_factory=dict)

    def rounds(self, count: int) -> int:
        """`count` rounds, fewer in a quick run."""
        return min(count, 2) if self.quick else count

    def to_text(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`."""
        return cls(**json.loads(text))
