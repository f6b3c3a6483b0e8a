"""Times the network alone, frame by frame, against the square Keras engine and the original."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import footage, models
from benchmarks.agreement_targets import PERCENT, SAME_CANVAS_IOU, least_percent
from benchmarks.footage import Image
from benchmarks.measuring import RowReport, Spread, Target, Value, alternate, at_least, per_second, ratios
from benchmarks.models import ORIGINAL_S, Weights
from benchmarks.options import Options
from benchmarks.peer import MATTERPORT, Peer
from pipeline.evaluation.agreement import agreement
from pipeline.records import Instances

FRAME_WH = (1280, 720)
PROPOSALS = (1000, 300)
"""The original's, and a number that suffices on smaller canvases."""
BEST_FRAMES = 3
"""Frames of the faster engine in a round: one alone is too short to be timed on a busy machine."""


def resnet_row(name: str, title: str, max_dim: int, options: Options, targets: dict[str, Target], rounds: int):
    """ResNet-101 at one size, timed alternately: the best engine with all and with fewer proposals, square Keras, and
    the original if there is one.

    Args:
        name, title: of the row.
        max_dim: longer side of the network's input, pixels.
        options: see `Options`; if they set the proposals, only that number is measured.
        targets: of the values "fps", "of Keras" and "of the original"; a missing one means no target.
        rounds: number of timings.
    """
    weights = models.resnet101(options)
    pictures = footage.frames(BEST_FRAMES, FRAME_WH, every=70)
    reference = models.keras_square(weights, max_dim)
    variants = dict(_variants(models.best(weights, max_dim, options), options))
    with contextlib.ExitStack() as stack:
        best = {label: stack.enter_context(models.opened(settings)) for label, settings in variants.items()}
        keras = stack.enter_context(models.opened(reference))
        sides: dict[str, Callable[[], Any]] = {label: _all_of(engine, pictures) for label, engine in best.items()}
        sides["keras"] = lambda: keras.segment_batch([pictures[0]])[0]
        if options.original is not None:
            sides["original"] = stack.enter_context(Peer(options.original, MATTERPORT, pictures[0], weights.path, 1024))
        taken = alternate(sides, options.rounds(rounds))
        reference_found = [keras.segment_batch([picture])[0] for picture in pictures]
        description = next(iter(best.values())).description
    values = []
    for label, chosen in variants.items():
        of_best = Rates(label, [seconds / BEST_FRAMES for seconds in taken[label]], taken, targets)
        values += of_best.values()
        values.append(same_canvas(chosen, reference_found, pictures, trained=not weights.seeded, what=label))
    values.append(Value("square Keras engine", per_second(taken["keras"]), "fps"))
    settings = {"engine": description, "weights": weights.what, "frames": "1280x720, of the clip", "model": variants}
    return RowReport(name, title, values, settings, list(_notes(weights)))


def _variants(chosen: dict[str, Any], options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings of the best engine, by the label of its proposals."""
    if "proposals" in options.model:
        yield f"{options.model['proposals']} proposals", chosen
    else:
        for count in PROPOSALS:
            yield f"{count} proposals", {**chosen, "proposals": count}


def _all_of(engine: Any, pictures: Sequence[Image]) -> Callable[[], Any]:
    return lambda: [engine.segment_batch([picture])[0] for picture in pictures]


@dataclass(frozen=True)
class Rates:
    """The times of one variant of the best engine.

    Attributes:
        label: of the variant.
        frame_s: seconds per frame, by round.
        taken: seconds of the others, by name and round.
        targets: see `resnet_row`.
    """

    label: str
    frame_s: list[float]
    taken: dict[str, list[float]]
    targets: dict[str, Target]

    def values(self) -> Iterator[Value]:
        """Rate and ratios."""
        of_keras = ratios(self.taken["keras"], self.frame_s)
        yield Value(f"frames a second, {self.label}", per_second(self.frame_s), "fps", self.targets.get("fps"))
        name = f"times as fast as the square Keras engine, {self.label}"
        yield Value(name, of_keras, "x", self.targets.get("of Keras"))
        yield self._of_original()

    def _of_original(self) -> Value:
        name, target = f"times as fast as the original at 1024 px, {self.label}", self.targets.get("of the original")
        if "original" in self.taken:
            return Value(name, ratios(self.taken["original"], self.frame_s), "x", target, "it ran here, alternating")
        stored = Spread.of([ORIGINAL_S / seconds for seconds in self.frame_s])
        return Value(name, stored, "x", target, f"against a stored {ORIGINAL_S} s a frame on two cores")


def same_canvas(
    chosen: dict[str, Any],
    reference: Sequence[Instances],
    pictures: Sequence[Image],
    *,
    trained: bool = True,
    what: str = "",
) -> Value:
    """Agreement (F1) of the chosen engine with the square Keras engine on the same square canvas.

    Args:
        chosen: settings of the engine.
        reference: detections of the square Keras engine on each picture.
        pictures: the pictures.
        trained: False for seeded weights: their detections are many boxes with nearly equal scores, so that the last
            bits decide, and only float32 has a target.
        what: describes the engine in the name of the value.
    """
    with models.opened({**chosen, "canvas": "square"}) as engine:
        matched = agreement(reference, [engine.segment_batch([picture])[0] for picture in pictures], SAME_CANVAS_IOU)
        least = least_percent(engine.description)
    target = at_least(least) if trained or least == PERCENT["float32"] else None
    name = "objects as the square Keras engine finds them, on the same canvas" + (what and f", {what}")
    return Value(name, Spread.one(100 * matched.f1), "%", target, matched.text)


def _notes(weights: Weights) -> Iterator[str]:
    yield f"weights: {weights.what}"
    if weights.seeded:
        yield "the last bits of nearly equal scores decide about their detections: only float32 has a target"
