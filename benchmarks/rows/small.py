"""The small model that is shipped, on 640x360 frames, one at a time."""

from benchmarks import footage, models
from benchmarks.engine_rate import MATCHED
from benchmarks.matching import agreement
from benchmarks.measuring import RowReport, Spread, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options

TITLE = "the small shipped model, 640x360 frames"
FRAMES = 25


def measure(options: Options) -> RowReport:
    """Its rate, and how it agrees with the square Keras engine on the same frames."""
    weights = models.small()
    pictures = footage.frames(FRAMES, (640, 360), every=12)
    chosen = models.best(weights, None, options)
    few = pictures[::5]
    with models.opened(chosen) as best, models.opened(models.keras_square(weights, None)) as keras:
        taken = alternate(
            {
                "best": lambda: [best.segment(picture) for picture in pictures],
                "keras": lambda: [keras.segment(picture) for picture in few],
            },
            options.rounds(7),
        )
        matched = agreement((keras.segment(picture), best.segment(picture)) for picture in pictures)
        description = best.description
    best_s = [seconds / len(pictures) for seconds in taken["best"]]
    keras_s = [seconds / len(few) for seconds in taken["keras"]]
    counts = f"{matched.matched} matched of {matched.wanted} and {matched.found}"
    values = [
        Value("frames a second", per_second(best_s), "fps", at_least(30)),
        Value("times as fast as the square Keras engine", ratios(keras_s, best_s), "x"),
        Value("objects as the square Keras engine finds them", Spread.one(matched.share), "%", MATCHED, counts),
    ]
    return RowReport("small", TITLE, values, {"engine": description, "model": chosen})
