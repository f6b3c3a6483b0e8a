"""Times an architecture of torchvision alternately with torchvision itself, at its published size."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import footage, models
from benchmarks.footage import Image
from benchmarks.measuring import RowReport, Spread, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options
from benchmarks.peer import TORCHVISION, Peer
from pipeline.evaluation.agreement import agreement
from pipeline.records import Instances
from pipeline.segmentation.machine import Machine

FRAME_WH = (1280, 720)
OBJECTS = 7
"""A frame, by the threshold: about as many as photographs of COCO have."""
FASTEST_TARGET, FLOAT32_TARGET = at_least(6), at_least(2)
NOTE = (
    "random weights, with which rounding decides about detections: their agreement says nothing about trained "
    "ones; whether a precision is exact enough for those is for `optimize` and `evaluate` to tell"
)


def torchvision_row(name: str, title: str, flavor: str, function: str, options: Options) -> RowReport:
    """Every precision of ours, and torchvision in float32 and in bfloat16 where there is an interpreter that has it.

    Args:
        name, title: of the row.
        flavor: "v1" or "v2", of the random weights.
        function: of torchvision.models.detection.
        options: see `Options`.
    """
    weights = models.random_torchvision(flavor)
    pictures = footage.frames(4, FRAME_WH, every=70)
    settings = models.settings_for(weights, None, engine="openvino")
    settings["min_score"] = _threshold(settings, pictures)
    ours = {precision: {**settings, "precision": precision} for precision in models.precisions(settings)}
    arguments = weights.path, function, settings["min_score"], Machine().cores()
    with contextlib.ExitStack() as stack:
        engines = {label: stack.enter_context(models.opened(chosen)) for label, chosen in ours.items()}
        sides: dict[str, Callable[[], Any]] = {
            label: lambda engine=engine: engine.segment_batch([pictures[0]]) for label, engine in engines.items()
        }
        if options.torchvision is not None:
            for precision in ("float32", "bfloat16"):
                theirs = Peer(options.torchvision, TORCHVISION, pictures[0], *arguments, precision)
                sides[f"torchvision, {precision}"] = stack.enter_context(theirs)
        taken = alternate(sides, options.rounds(7))
        found = {
            label: [engine.segment_batch([picture])[0] for picture in pictures] for label, engine in engines.items()
        }
        description = engines["float32"].description
    values = [Value(f"frames a second, {label}", per_second(seconds), "fps") for label, seconds in taken.items()]
    shares = {label: 100 * agreement(found["float32"], one).f1 for label, one in found.items() if label != "float32"}
    values += [Value(f"objects as in float32, {label}", Spread.one(f1), "%") for label, f1 in shares.items()]
    if options.torchvision is not None:
        fastest = min(ours, key=lambda label: statistics.median(taken[label]))
        targets = {"float32": FLOAT32_TARGET, fastest: FASTEST_TARGET}
        values += [
            Value(
                f"times as fast as torchvision in float32, {label}",
                ratios(taken["torchvision, float32"], taken[label]),
                "x",
                targets.get(label),
            )
            for label in ours
        ]
    count = statistics.mean(map(len, found["float32"]))
    facts = {"engine": description, "weights": weights.what, "frames": "1280x720", "objects a frame": count}
    return RowReport(name, title, values, {**facts, "model": settings}, [NOTE])


def _threshold(settings: dict[str, Any], pictures: Sequence[Image]) -> float:
    """The score above which the pictures have OBJECTS each, in the median."""
    with models.opened({**settings, "precision": "float32", "min_score": 0.05}) as engine:
        found = [engine.segment_batch([picture])[0] for picture in pictures]
    return statistics.median(map(_between, found))


def _between(instances: Instances) -> float:
    """Half way between the last score that is to count and the next."""
    best = sorted(map(float, instances.scores), reverse=True) + [0.05] * (OBJECTS + 1)
    return (best[OBJECTS - 1] + best[OBJECTS]) / 2
