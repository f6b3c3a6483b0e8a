"""The rows that time the network alone, frame by frame, against the square Keras engine and the original."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import footage, models
from benchmarks.matching import agreement
from benchmarks.measuring import RowReport, Spread, Target, Value, alternate, at_least, per_second, ratios
from benchmarks.models import ORIGINAL_S, Weights
from benchmarks.options import Options
from benchmarks.original import Original

FRAME_WH = (1280, 720)
MATCHED = at_least(90)
"""Percent of objects that the engine chosen automatically must find as the reference does: its canvas is another."""
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
        matched = agreement((keras.segment(picture), best.segment(picture)) for picture in pictures)
        description = best.description
    best_s = [seconds / BEST_FRAMES for seconds in taken["best"]]
    values = [
        Value("frames a second", per_second(best_s), "fps", targets.get("fps")),
        Value("times as fast as the square Keras engine", ratios(taken["keras"], best_s), "x", targets.get("of Keras")),
        _of_original(taken, best_s, targets.get("of the original")),
        Value("square Keras engine", per_second(taken["keras"]), "fps"),
        Value(
            "objects as the square Keras engine finds them", Spread.one(matched.share), "%", MATCHED, _counts(matched)
        ),
    ]
    settings = {"engine": description, "weights": weights.what, "frames": "1280x720, of the sample", "model": chosen}
    return RowReport(name, title, values, settings, list(_notes(weights)))


def _of_original(taken: dict[str, list[float]], best_s: list[float], target: Target | None) -> Value:
    name = "times as fast as the original at 1024 px"
    if "original" in taken:
        return Value(name, ratios(taken["original"], best_s), "x", target, "the original ran here, by turns")
    stored = Spread.of([ORIGINAL_S / seconds for seconds in best_s])
    return Value(name, stored, "x", target, f"against a stored {ORIGINAL_S} s a frame on two cores")


def _counts(matched) -> str:
    return f"{matched.matched} matched of {matched.wanted} and {matched.found}"


def _notes(weights: Weights) -> Iterator[str]:
    yield f"weights: {weights.what}"
