"""The rows that time the network alone, frame by frame, against the square Keras engine and the original."""

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
from benchmarks.original import Original
from pipeline.evaluation.agreement import agreement
from pipeline.records import Instances

FRAME_WH = (1280, 720)
PROPOSALS = (1000, 300)
"""The original's, and as many as are enough on smaller canvases."""
BEST_FRAMES = 3
"""Frames of the faster engine in a round, so that its time is no shorter than can be told on a busy machine."""


def resnet_row(name: str, title: str, max_dim: int, options: Options, targets: dict[str, Target], rounds: int):
    """ResNet-101 at one size by turns: the best engine with all proposals and with fewer, square Keras, and the
    original if it can be run.

    Args:
        name, title: of the row.
        max_dim: longer side that the network sees, pixels.
        options: see `Options`; where they set the proposals, there are no fewer.
        targets: of the values "fps", "of Keras" and "of the original"; those without one are left open.
        rounds: of the alternation.
    """
    weights = models.resnet101(options)
    pictures = footage.frames(BEST_FRAMES, FRAME_WH, every=70)
    reference = models.keras_square(weights, max_dim)
    variants = dict(_variants(weights, max_dim, options))
    with contextlib.ExitStack() as stack:
        best = {label: stack.enter_context(models.opened(settings)) for label, settings in variants.items()}
        keras = stack.enter_context(models.opened(reference))
        sides: dict[str, Callable[[], Any]] = {label: _all_of(engine, pictures) for label, engine in best.items()}
        sides["keras"] = lambda: keras.segment(pictures[0])
        if options.original is not None:
            sides["original"] = stack.enter_context(Original(options.original, weights.path, pictures[0], 1024))
        taken = alternate(sides, options.rounds(rounds))
        reference_found = [keras.segment(picture) for picture in pictures]
        description = next(iter(best.values())).description
    values = []
    for label, chosen in variants.items():
        of_best = Rates(label, [seconds / BEST_FRAMES for seconds in taken[label]], taken, targets)
        values += of_best.values()
        values.append(same_canvas(chosen, reference_found, pictures, trained=not weights.seeded, what=label))
    values.append(Value("square Keras engine", per_second(taken["keras"]), "fps"))
    settings = {"engine": description, "weights": weights.what, "frames": "1280x720, of the sample", "model": variants}
    return RowReport(name, title, values, settings, list(_notes(weights)))


def _variants(weights: Weights, max_dim: int, options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings of the best engine, by the label of its proposals."""
    chosen = models.best(weights, max_dim, options)
    if "proposals" in options.model:
        yield f"{options.model['proposals']} proposals", chosen
    else:
        for count in PROPOSALS:
            yield f"{count} proposals", {**chosen, "proposals": count}


def _all_of(engine: Any, pictures: Sequence[Image]) -> Callable[[], Any]:
    return lambda: [engine.segment(picture) for picture in pictures]


@dataclass(frozen=True)
class Rates:
    """What one variant of the best engine took.

    Attributes:
        label: what it is.
        frame_s: seconds a frame, by round.
        taken: seconds of the others, by their name and round.
        targets: as `resnet_row` takes them.
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
            return Value(name, ratios(self.taken["original"], self.frame_s), "x", target, "it ran here, by turns")
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
    """How much of what the square Keras engine finds the chosen engine finds on the same square canvas.

    Args:
        chosen: settings of the engine.
        reference: what the square Keras engine found on each picture.
        pictures: what it was shown.
        trained: whether the weights mean anything. Those that do not find crowds of boxes with all but equal scores, of
            which the last bits decide: only float32 promises something for them.
        what: a word on the engine, for the name of the value.
    """
    with models.opened({**chosen, "canvas": "square"}) as engine:
        matched = agreement(reference, [engine.segment(picture) for picture in pictures], SAME_CANVAS_IOU)
        least = least_percent(engine.description)
    target = at_least(least) if trained or least == PERCENT["float32"] else None
    name = "objects as the square Keras engine finds them, on the same canvas" + (what and f", {what}")
    return Value(name, Spread.one(100 * matched.f1), "%", target, matched.text)


def _notes(weights: Weights) -> Iterator[str]:
    yield f"weights: {weights.what}"
    if weights.seeded:
        yield "the last bits of nearly equal scores decide what they find: only float32 has a target for it"
