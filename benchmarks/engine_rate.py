"""The rows that time the network alone, frame by frame, against the square Keras engine and the original."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import footage, models
from benchmarks.footage import Image
from benchmarks.matching import PERCENT, agreement, least_percent
from benchmarks.measuring import RowReport, Spread, Target, Value, alternate, at_least, per_second, ratios
from benchmarks.models import ORIGINAL_S, Weights
from benchmarks.options import Options
from benchmarks.original import Original
from pipeline.records import Instances

FRAME_WH = (1280, 720)
BEST_FRAMES = 3
"""Frames of the faster engine in a round, so that its time is no shorter than can be told on a busy machine."""


def resnet_row(name: str, title: str, max_dim: int, options: Options, targets: dict[str, Target], rounds: int):
    """ResNet-101 at one size: best engine and square Keras by turns, and the original if it can be run.

    Args:
        name, title: of the row.
        max_dim: longer side that the network sees, pixels.
        options: see `Options`.
        targets: of the values "fps", "of Keras" and "of the original"; those without one are left open.
        rounds: of the alternation.
    """
    weights = models.resnet101(options)
    pictures = footage.frames(BEST_FRAMES, FRAME_WH, every=70)
    chosen, reference = models.best(weights, max_dim, options), models.keras_square(weights, max_dim)
    with contextlib.ExitStack() as stack:
        best = stack.enter_context(models.opened(chosen))
        keras = stack.enter_context(models.opened(reference))
        sides: dict[str, Callable[[], Any]] = {
            "best": lambda: [best.segment(picture) for picture in pictures],
            "keras": lambda: keras.segment(pictures[0]),
        }
        if options.original is not None:
            sides["original"] = stack.enter_context(Original(options.original, weights.path, pictures[0], 1024))
        taken = alternate(sides, options.rounds(rounds))
        reference_found = [keras.segment(picture) for picture in pictures]
        matched = same_canvas(chosen, reference_found, pictures, trained=not weights.seeded)
        description = best.description
    best_s = [seconds / BEST_FRAMES for seconds in taken["best"]]
    values = [
        Value("frames a second", per_second(best_s), "fps", targets.get("fps")),
        Value("times as fast as the square Keras engine", ratios(taken["keras"], best_s), "x", targets.get("of Keras")),
        _of_original(taken, best_s, targets.get("of the original")),
        Value("square Keras engine", per_second(taken["keras"]), "fps"),
        matched,
    ]
    settings = {"engine": description, "weights": weights.what, "frames": "1280x720, of the sample", "model": chosen}
    return RowReport(name, title, values, settings, list(_notes(weights)))


def _of_original(taken: dict[str, list[float]], best_s: list[float], target: Target | None) -> Value:
    name = "times as fast as the original at 1024 px"
    if "original" in taken:
        return Value(name, ratios(taken["original"], best_s), "x", target, "the original ran here, by turns")
    stored = Spread.of([ORIGINAL_S / seconds for seconds in best_s])
    return Value(name, stored, "x", target, f"against a stored {ORIGINAL_S} s a frame on two cores")


def same_canvas(
    chosen: dict[str, Any], reference: Sequence[Instances], pictures: Sequence[Image], *, trained: bool = True
) -> Value:
    """How much of what the square Keras engine finds the chosen engine finds on the same square canvas.

    Args:
        chosen: settings of the engine.
        reference: what the square Keras engine found on each picture.
        pictures: what it was shown.
        trained: whether the weights mean anything. Those that do not find crowds of boxes with all but equal scores, of
            which the last bits decide: only float32 promises something for them.
    """
    with models.opened({**chosen, "canvas": "square"}) as engine:
        matched = agreement(zip(reference, [engine.segment(picture) for picture in pictures], strict=True))
        least = least_percent(engine.description)
    target = at_least(least) if trained or least == PERCENT["float32"] else None
    name = "objects as the square Keras engine finds them, on the same canvas"
    return Value(name, Spread.one(matched.share), "%", target, matched.text)


def _notes(weights: Weights) -> Iterator[str]:
    yield f"weights: {weights.what}"
    if weights.seeded:
        yield "the last bits of nearly equal scores decide what they find: only float32 has a target for it"
