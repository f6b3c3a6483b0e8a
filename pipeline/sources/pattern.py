"""`test:`, a moving synthetic pattern of any size and rate, for trials without a camera and for tests."""

from __future__ import annotations

import re
import time
from fractions import Fraction

import cv2
import numpy as np

from pipeline.errors import InputError
from pipeline.records import Clock, Frame, Image, SourceInfo, SourceKind
from pipeline.sources.base import Pacer, Source

DEFAULT_SIZE_WH = (640, 360)
DEFAULT_RATE = Fraction(30)
MIN_SIDE, MAX_SIDE = 48, 16384
MAX_RATE = 1000

STRIP_BITS = 24
"""Frame numbers in the strip wrap around at 2^24: after more than six days at 30 frames per second."""

_SPEC = re.compile(
    r"(?:(?P<width>[0-9]{1,9})[xX](?P<height>[0-9]{1,9}))?"
    r"(?:@(?P<rate>[0-9]{1,9}(?:\.[0-9]{1,18})?(?:/[0-9]{1,9})?))?"
)
_SYNTAX = "expected test:, test:WIDTHxHEIGHT or test:WIDTHxHEIGHT@RATE, for example test:640x360@30"


class PatternSource(Source):
    """A moving disc, box and bar, with a frame number that `read_frame_number` reads back.

    Args:
        spec: what follows `test:`: "", "640x360", "640x360@29.97" or "@30000/1001".
        size_wh: width and height if `spec` states none.
        rate: frames per second if `spec` states none.
        kind: LIVE is paced by the clock at exactly this rate; RECORDED is as fast as its reader.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.

    Raises:
        InputError: the spec is malformed, or a size or rate is out of range.
    """

    def __init__(
        self,
        spec: str = "",
        *,
        size_wh: tuple[int, int] = DEFAULT_SIZE_WH,
        rate: Fraction = DEFAULT_RATE,
        kind: SourceKind = SourceKind.LIVE,
        clock: Clock = time.monotonic,
        pacer: Pacer | None = None,
    ) -> None:
        (self._width, self._height), self._rate = _parse(spec, size_wh, rate)
        self._name = f"test:{self._width}x{self._height}@{float(self._rate):g}"
        self._kind = kind
        self._pacer = pacer or Pacer(clock)
        self._index = 0
        self._background = background(self._width, self._height)

    def open(self) -> SourceInfo:
        return SourceInfo(
            source_id=self._name,
            kind=self._kind,
            width=self._width,
            height=self._height,
            fps=float(self._rate),
            time_base=1 / self._rate,
            description=f"test pattern {self._width}x{self._height} at {float(self._rate):g} fps",
        )

    def read(self) -> Frame | None:
        pts_s = float(self._index / self._rate)
        if self._pacer.interrupted or (self._kind is SourceKind.LIVE and not self._pacer.until_due(pts_s)):
            return None
        image = draw(self._background, self._index, self._rate)
        frame = Frame(self._name, self._index, self._index, 1 / self._rate, self._pacer.clock(), image, duration=1)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        self._pacer.interrupt()


def background(width: int, height: int) -> Image:
    """uint8 (H, W, 3) BGR: a gradient from left to right and from top to bottom."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, :, 0] = np.linspace(60, 150, width).astype(np.uint8)[None, :]
    image[:, :, 1] = np.linspace(60, 120, height).astype(np.uint8)[:, None]
    image[:, :, 2] = 70
    return image


def draw(backdrop: Image, index: int, rate: Fraction) -> Image:
    """Draws frame number `index` as uint8 (H, W, 3) BGR; equal arguments give equal images."""
    image = backdrop.copy()
    height, width = image.shape[:2]
    time_s = float(index / rate)
    radius = max(4, height // 8)
    x = _swing(time_s * 0.31, radius, width - radius)
    cv2.circle(image, (x, _swing(time_s * 0.47, radius, height // 2)), radius, (40, 80, 230), -1, cv2.LINE_AA)
    side = max(4, height // 5)
    left, top = _swing(0.5 + time_s * 0.23, 0, width - side), height // 2
    cv2.rectangle(image, (left, top), (left + side - 1, top + side - 1), (60, 200, 60), -1)
    column = index * max(1, width // 64) % width
    image[: height // 2, column : column + max(1, width // 160)] = 255
    scale = max(0.3, height / 480)
    text, where = f"{index}  {time_s:.2f} s", (width // 24, height // 4)
    cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    top, block = _strip_geometry(height, width)
    bits = [255 if index >> bit & 1 else 0 for bit in range(STRIP_BITS)]
    image[top:, : block * STRIP_BITS] = np.repeat(np.array(bits, np.uint8), block)[None, :, None]
    return image


def read_frame_number(image_bgr: Image) -> int:
    """Reads the frame number, modulo 2^24, from an image of this pattern, even after video compression."""
    top, block = _strip_geometry(*image_bgr.shape[:2])
    strip = image_bgr[top:, : block * STRIP_BITS].mean(axis=(0, 2)).reshape(STRIP_BITS, block).mean(axis=1)
    return sum(1 << bit for bit, value in enumerate(strip) if value > 127)


def _strip_geometry(height: int, width: int) -> tuple[int, int]:
    return height - max(4, height // 15), width // STRIP_BITS


def _swing(phase: float, low: int, high: int) -> int:
    """A triangle wave: an integer that goes from low to high and back once per unit of phase."""
    position = 1 - abs(2 * (phase % 1) - 1)
    return round(low + position * max(0, high - low))


def _parse(spec: str, size_wh: tuple[int, int], rate: Fraction) -> tuple[tuple[int, int], Fraction]:
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise InputError(f"test:{spec} is malformed: {_SYNTAX}")
    if match["width"]:
        size_wh = int(match["width"]), int(match["height"])
    if match["rate"]:
        try:
            rate = Fraction(match["rate"])
        except (ValueError, ZeroDivisionError):
            raise InputError(f"test:{spec} has an invalid rate, {match['rate']}: {_SYNTAX}") from None
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size_wh):
        size = f"{size_wh[0]}x{size_wh[1]}"
        raise InputError(f"test:{spec}: each side must be {MIN_SIDE} to {MAX_SIDE} pixels, got {size}; {_SYNTAX}")
    if not 0 < rate <= MAX_RATE:
        allowed = f"above 0 and at most {MAX_RATE} frames per second"
        raise InputError(f"test:{spec}: the rate must be {allowed}, got {float(rate):g}; {_SYNTAX}")
    return size_wh, rate
