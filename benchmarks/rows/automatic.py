"""What `auto` chooses by measurement, against every combination that it had to choose from, timed afresh."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import footage, models
from benchmarks.footage import Image
from benchmarks.measuring import RowReport, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options
from pipeline.segmentation.engine_choice import EngineSelection
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.settings.model_settings import EngineKind, ModelSettings

TITLE = "the automatic choice, the small shipped model on 640x360 frames of a file"
FRAMES = 24


def measure(options: Options) -> RowReport:
    """Its rate, as a share of that of the best combination."""
    pictures = footage.frames(FRAMES, (640, 360), every=12)
    chosen = models.best(models.small(), None, options)
    selection = EngineSelection(read_model(ModelSettings.model_validate(chosen)))
    names = [one.precision.value for one in selection.choices if one.engine is EngineKind.OPENVINO]
    forced = {
        f"{name}, {workers} at a time": {**chosen, "precision": name, "workers": workers}
        for name in names
        for workers in (1, 2)
    }
    with contextlib.ExitStack() as stack:
        automatic = stack.enter_context(models.opened(chosen, workers=2))
        sides = {"auto": _all_of(automatic, pictures)}
        for label, settings in forced.items():
            opened = models.opened(settings, workers=settings["workers"])
            sides[label] = _all_of(stack.enter_context(opened), pictures)
        taken = alternate(sides, options.rounds(9))
        description = automatic.description
    rates = {label: per_second(seconds, FRAMES) for label, seconds in taken.items()}
    best = max(forced, key=lambda label: rates[label].median)
    values = [
        Value(
            "rate of the best combination that auto reaches", ratios(taken[best], taken["auto"]), "x", at_least(0.95)
        ),
        *(Value(f"frames a second, {label}", rate, "fps") for label, rate in rates.items()),
    ]
    return RowReport("automatic", TITLE, values, {"engine": description, "best": best, "model": chosen})


def _all_of(segmenter: MaskRCNNSegmenter, pictures: list[Image]) -> Callable[[], Any]:
    def run() -> None:
        with ThreadPoolExecutor(segmenter.workers) as threads:
            list(threads.map(lambda picture: segmenter.segment_batch([picture]), pictures))

    return run
