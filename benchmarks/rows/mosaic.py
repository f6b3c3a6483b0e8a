"""Drawing the mosaic of nine cameras at 1080p: the processor time of a second in which each shows 30 frames."""

import time

import cv2
import numpy as np

from benchmarks.measuring import RowReport, Spread, Value, alternate, at_most
from benchmarks.options import Options
from pipeline.drawing.mosaic import Mosaic, Tile

TITLE = "mosaic of 9 cameras at 1080p, 30 fps each"
CAMERAS, FPS, CAPTIONS_PER_S = 9, 30, 5
SIZE_WH = (1920, 1080)
SIZES_WH = ((640, 360), (1280, 720), (1920, 1080))


def measure(options: Options) -> RowReport:
    """With small and large pictures by turns; a second's drawing is timed as processor time of all threads."""
    sides = {f"{width}x{height}": OneSecond((width, height)).draw for width, height in SIZES_WH}
    taken = alternate(sides, options.rounds(9), time.process_time)
    values = [
        Value(f"processor, pictures of {name}", Spread.of([100 * s for s in seconds]), "% of a core", at_most(100))
        for name, seconds in taken.items()
    ]
    return RowReport("mosaic", TITLE, values, {"cameras": CAMERAS, "canvas": SIZE_WH})


class OneSecond:
    """A second of a mosaic: new pictures in all tiles at every step, captions that change a few times."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (2, size_wh[1], size_wh[0], 3), np.uint8)
        self._pictures = [np.asarray(cv2.GaussianBlur(one, (0, 0), 3), np.uint8) for one in noise]
        self._mosaic = Mosaic(SIZE_WH)

    def draw(self) -> np.ndarray:
        """Draws it; returns the last canvas."""
        for step in range(FPS):
            details = "30 fps", f"masks {100 + step * CAPTIONS_PER_S // FPS} ms old"
            picture = self._pictures[step % 2]
            canvas = self._mosaic.draw([Tile(f"camera {i}", picture, details) for i in range(CAMERAS)])
        return canvas
