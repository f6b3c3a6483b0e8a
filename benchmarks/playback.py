"""A camera and a network of known speed, for the rows that measure the pipeline between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.moving_scene import MovingScene, crowd
from pipeline.records import Frame, Instances, SourceInfo, SourceKind
from pipeline.segmentation.segmenter import Segmenter
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sources.base import Source

Image = NDArray[np.uint8]
LABELS = ("BG", "person", *(f"class {i}" for i in range(2, 16)), "cat")
_BITS, _BLOCK = 10, 16


def scene(count: int, objects: int, size_wh: tuple[int, int]) -> tuple[list[Image], list[Instances]]:
    """Pictures of a scene with moving objects, each marked with its number, and their true instances."""
    stage = MovingScene(*size_wh, crowd(objects))
    pictures, truths = [], []
    for index in range(count):
        frame, instances, _ = stage.frame(index)
        pictures.append(marked(frame.image_bgr, index))
        truths.append(instances)
    return pictures, truths


def marked(image_bgr: Image, number: int) -> Image:
    """A copy with a number below 1024 in black and white blocks at its top left; it survives compression."""
    image = image_bgr.copy()
    for bit in range(_BITS):
        cv2.rectangle(
            image,
            (bit * _BLOCK, 0),
            ((bit + 1) * _BLOCK - 1, _BLOCK - 1),
            (255,) * 3 if number >> bit & 1 else (0,) * 3,
            -1,
        )
    return image


def mark_of(image_bgr: Image) -> int:
    """The number that `marked` wrote."""
    half = _BLOCK // 2
    return sum(1 << bit for bit in range(_BITS) if image_bgr[half, bit * _BLOCK + half].mean() > 127)


def ping_pong(count: int, length: int) -> list[int]:
    """`length` indices that run through `count` pictures forwards and backwards."""
    there = list(range(count))
    cycle = there + there[-2:0:-1]
    return [cycle[i % len(cycle)] for i in range(length)]


class LoopSource(Source):
    """Loops over pictures, one for each release of a semaphore, until interrupted.

    Args:
        pictures: all of one size; they run forwards and backwards.
        wanted: each release yields a frame, so that none has to be dropped.
        nominal: frames a second on the frames' own clock.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        pictures: Sequence[Image],
        wanted: threading.Semaphore,
        nominal: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pictures = [pictures[i] for i in ping_pong(len(pictures), max(1, 2 * len(pictures) - 2))]
        self._wanted, self._nominal, self._clock = wanted, nominal, clock
        self._index = 0
        self._interrupted = False

    def open(self) -> SourceInfo:
        """See `Source.open`."""
        height, width = self._pictures[0].shape[:2]
        return SourceInfo(
            "loop", SourceKind.LIVE, width, height, fps=float(self._nominal), time_base=Fraction(1, self._nominal)
        )

    def read(self) -> Frame | None:
        """See `Source.read`."""
        self._wanted.acquire()
        if self._interrupted:
            return None
        image = self._pictures[self._index % len(self._pictures)].copy()  # a camera's frames have memory of their own
        frame = Frame("loop", self._index, self._index, Fraction(1, self._nominal), self._clock(), image)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self._interrupted = True
        self._wanted.release()

    def close(self) -> None:
        """Nothing to release."""


class ScriptedSegmenter(Segmenter):
    """Returns the true instances of the pictures of `scene` after a given time, without using the processor.

    Args:
        truths: by the pictures' numbers.
        takes_s: seconds per call.
        wait: sleeps for a number of seconds.
    """

    def __init__(
        self, truths: Sequence[Instances], takes_s: float = 0.0, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._truths, self._takes_s, self._wait = truths, takes_s, wait
        self.processor_s = 0.0
        """Processor time of the calls."""

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return LABELS

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return f"stand-in for a network that takes {1000 * self._takes_s:g} ms"

    def open(self) -> None:
        """Nothing to load."""

    def segment_batch(self, images_bgr: Sequence[Image]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        return [self._segment(image_bgr) for image_bgr in images_bgr]

    def _segment(self, image_bgr: Image) -> Instances:
        due_s = time.monotonic() + self._takes_s
        began_s = time.thread_time()
        found = self._truths[min(mark_of(image_bgr), len(self._truths) - 1)]
        self.processor_s += time.thread_time() - began_s
        left_s = due_s - time.monotonic()
        if left_s > 0:
            self._wait(left_s)
        return found

    def close(self) -> None:
        """Nothing to release."""


class Screen(Sink):
    """Takes annotated frames in the caller's thread, as a window does, and discards them."""

    name = "screen"
    delivery = Delivery.MAIN_THREAD
    wants_overlay = True

    def open(self, context: RunContext) -> None:
        """See `Sink.open`."""

    def write(self, presentation: Presentation) -> None:
        """See `Sink.write`."""

    def close(self) -> None:
        """See `Sink.close`."""
