"""The small model that is shipped, on 640x360 frames, one at a time."""

from benchmarks import footage, models
from benchmarks.engine_rate import same_canvas
from benchmarks.measuring import RowReport, Value, alternate, at_least, per_second, ratios
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
                "best": lambda: [best.segment_batch([picture])[0] for picture in pictures],
                "keras": lambda: [keras.segment_batch([picture])[0] for picture in few],
            },
            options.rounds(7),
        )
        photographs = footage.photographs(options.coco_images, 5 if options.quick else footage.PICTURES)
        matched = same_canvas(chosen, [keras.segment_batch([picture])[0] for picture in photographs], photographs)
        description = best.description
    best_s = [seconds / len(pictures) for seconds in taken["best"]]
    keras_s = [seconds / len(few) for seconds in taken["keras"]]
    values = [
        Value("frames a second", per_second(best_s), "fps", at_least(30)),
        Value("times as fast as the square Keras engine", ratios(keras_s, best_s), "x"),
        matched,
    ]
    return RowReport("small", TITLE, values, {"engine": description, "model": chosen})
