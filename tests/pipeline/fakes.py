"""Sources, segmenters and sinks that a test can steer, and a clock that only moves when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from pipeline.records import Frame, Instances, SourceInfo, SourceKind
from pipeline.segmentation.segmenter import Segmenter
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sources.base import Source, SourceState

HEIGHT, WIDTH = 48, 80
DEADLINE_S = 10.0
"""How long a test waits for something that should happen at once."""


class FakeClock:
    """A monotonic clock in the test's hand."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def hang_until(event: threading.Event, clock: FakeClock, lost: Callable[[], bool]) -> None:
    """What a network does that hangs: the clock runs until it counts as lost. It comes back with the event."""
    while not lost() and not event.wait(0.01):
        clock.now_s += 1.0
    event.wait(DEADLINE_S)


def make_frame(index: int, height: int = HEIGHT, width: int = WIDTH, captured_at_s: float = 0.0) -> Frame:
    """A frame whose every pixel is its index (modulo 256), 25 frames a second."""
    image = np.full((height, width, 3), index % 256, np.uint8)
    return Frame("fake", index, index * 40, Fraction(1, 1000), captured_at_s, image)


def make_instances(count: int = 1, x: float = 5.0) -> Instances:
    """`count` boxes side by side, full masks, falling scores, classes 1, 2, 3 …"""
    starts = np.arange(count, dtype=np.float32) * 12 + x
    boxes = np.stack([starts, starts * 0 + 4, starts + 10, starts * 0 + 30], axis=1).astype(np.float32)
    return Instances(
        boxes,
        np.arange(1, count + 1, dtype=np.int32),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.ones((count, 28, 28), np.float32),
    )


class FakeSource(Source):
    """Gives `count` frames (None: for ever), each when `gate` lets it; fails with `error` after them."""

    def __init__(
        self,
        count: int | None,
        kind: SourceKind = SourceKind.RECORDED,
        gate: Callable[[int], bool] | None = None,
        error: Exception | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count, self.kind, self.error = count, kind, error
        self._gate, self._clock = gate, clock
        self.given = 0
        self.closed = 0
        self.text = ""
        self.interrupted = threading.Event()

    def open(self) -> SourceInfo:
        return SourceInfo(
            "fake", self.kind, WIDTH, HEIGHT, fps=25.0, frame_count=self.count, time_base=Fraction(1, 1000)
        )

    def read(self) -> Frame | None:
        if self.interrupted.is_set():
            return None
        if self.count is not None and self.given >= self.count:
            if self.error is not None:
                raise self.error
            return None
        if self._gate is not None and not self._gate(self.given):
            return None
        if self.kind is SourceKind.LIVE:
            time.sleep(0.001)  # a camera waits for its frames: it does not keep the interpreter from other threads
        frame = make_frame(self.given, captured_at_s=self._clock())
        self.given += 1
        return frame

    def close(self) -> None:
        self.closed += 1

    def interrupt(self) -> None:
        self.interrupted.set()

    @property
    def state(self) -> SourceState:
        return SourceState(self.text)


class FakeSegmenter(Segmenter):
    """Finds one object in every frame, whose x tells the frame's first pixel; `before` may block or raise."""

    def __init__(self, before: Callable[[int], None] | None = None, opening: Callable[[], None] | None = None) -> None:
        self._before, self._opening = before, opening
        self.seen: list[int] = []
        self.closed = 0

    @property
    def labels(self) -> Sequence[str]:
        return ("BG", "thing", "other", "third")

    @property
    def description(self) -> str:
        return "fake segmenter"

    def open(self) -> None:
        if self._opening is not None:
            self._opening()

    def segment_batch(self, images_bgr: Sequence[np.ndarray]) -> list[Instances]:
        return [self.segment(image_bgr) for image_bgr in images_bgr]

    def segment(self, image_bgr: np.ndarray) -> Instances:
        """One frame of a batch."""
        index = int(image_bgr[0, 0, 0])
        if self._before is not None:
            self._before(index)
        self.seen.append(index)
        return make_instances(1, x=float(index % 50))

    def close(self) -> None:
        self.closed += 1


class FakeSink(Sink):
    """Remembers what it was given; `on_write` may block, raise or ask for the end."""

    def __init__(
        self,
        delivery: Delivery = Delivery.EVERY_FRAME,
        on_write: Callable[[int], None] | None = None,
        name: str = "fake sink",
        wants_overlay: bool = False,
    ) -> None:
        self.delivery, self.name, self.wants_overlay = delivery, name, wants_overlay
        self._on_write = on_write
        self.written: list[int] = []
        self.threads: set[str] = set()
        self.messages: list[str] = []
        self.context: RunContext | None = None
        self.closed = 0
        self.stop = False

    def open(self, context: RunContext) -> None:
        self.context = context

    def write(self, presentation: Presentation) -> None:
        index = presentation.segmented.frame.index
        if self._on_write is not None:
            self._on_write(index)
        self.threads.add(threading.current_thread().name)
        self.written.append(index)

    def idle(self, message: str) -> None:
        self.messages.append(message)

    def close(self) -> None:
        self.closed += 1

    @property
    def stop_requested(self) -> bool:
        return self.stop

    @property
    def outputs(self) -> Sequence[str]:
        return ("fake.out",)
