"""How the picture moved from each presented frame to the next: dense optical flow on small gray frames.

Shape letters: h, w size of a small gray frame in its pixels ("small pixels").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame

MOST_STEPS = 400
"""Steps kept at most, whatever their age: 44 MB at 320x180."""
LEAST_SIDE = 32
"""Of a small frame. With fewer pixels a picture of DIS's pyramid is smaller than one of its patches, and OpenCV reads
beyond its end: the process dies."""
PATCH_STRIDE = 6
"""From one of DIS's patches of 8 pixels to the next. Carried masks fit as well as with its own 4, in two thirds of the
time; long and narrow pictures, which are few pixels high at the top of the pyramid, keep that."""
_PATCH_STRIDE_NARROW = 4
FLOW_STRIDE = 3
"""Flow is kept for every third pixel: DIS, as it is set here, computes it for every fourth."""
CUT_SHARE = 0.42
"""Share of the picture that must have changed, by more than 15 gray levels and beyond what the flow and another light
explain, for a new scene. Between unrelated photographs it is 0.46 and more, in pans and zooms by 12 pixels at most 0.37
and where a third of the picture is covered at once at most 0.36."""
CUT_CORRELATION = 0.75
"""Correlation that a new scene stays below: unrelated photographs reach 0.71, a picture in another light has 0.99."""
_CHANGED = 15.0
_CHECK_STRIDE = 5
"""Every how many small pixels the flow is checked for a cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The way from one presented frame to the next.

    Attributes:
        index: of the frame that the step leads to.
        gray: uint8 (h, w), that frame.
        flow: float32 (h / 3, w / 3, 2): where every third pixel of the frame before went, x and y in small pixels.
    """

    index: int
    time_s: float
    gray: NDArray[np.uint8]
    flow: NDArray[np.float32]


class FlowTrail:
    """The steps between the frames of the last seconds.

    Args:
        width: of the small frames; a narrower video keeps its own.
        keep_s: how many seconds of steps are kept, on the frames' own clock.
    """

    def __init__(self, width: int, keep_s: float) -> None:
        self._width = width
        self._keep_s = keep_s
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._steps: deque[Step] = deque()
        self._size_wh = (0, 0)
        self._too_old = -1

    @property
    def last(self) -> Step:
        """The step to the last frame seen."""
        return self._steps[-1]

    @property
    def width(self) -> int:
        """Of the small frames, in pixels."""
        return int(self._steps[-1].gray.shape[1])

    @property
    def height(self) -> int:
        """Of the small frames, in pixels."""
        return int(self._steps[-1].gray.shape[0])

    def see(self, frame: Frame) -> bool:
        """Take the next presented frame. False if it does not continue the one before: then the trail starts anew."""
        gray = self.small_gray(frame)
        last = self._steps[-1] if self._steps else None
        flow = None
        if last is not None and (frame.width, frame.height) == self._size_wh and frame.pts_s >= last.time_s:
            flow = self._flow_between(last.gray, gray)
        if flow is None:
            self._too_old = last.index if last is not None else -1
            self._steps.clear()
            flow = np.zeros((0, 0, 2), np.float32)
            self._size_wh = (frame.width, frame.height)
        self._steps.append(Step(frame.index, frame.pts_s, gray, flow))
        while self._steps[0].time_s < frame.pts_s - self._keep_s or len(self._steps) > MOST_STEPS:
            self._too_old = self._steps.popleft().index
        return len(self._steps) > 1

    def since(self, frame: Frame) -> tuple[NDArray[np.uint8], Sequence[Step]] | None:
        """The small gray picture of an earlier frame and the steps from it to the last one seen.

        A frame that was never presented is bridged to the first one presented after it. None if the way back is lost:
        too long ago, or the scene has changed since.
        """
        if frame.index <= self._too_old or (frame.width, frame.height) != self._size_wh:
            return None
        later = [step for step in self._steps if step.index >= frame.index]
        if not later:
            return None
        if later[0].index == frame.index:
            return later[0].gray, later[1:]
        gray = self.small_gray(frame)
        flow = self._flow_between(gray, later[0].gray)
        if flow is None:
            return None
        first = Step(later[0].index, later[0].time_s, later[0].gray, flow)
        return gray, [first, *later[1:]]

    def small_gray(self, frame: Frame) -> NDArray[np.uint8]:
        """uint8 (h, w): the frame, small and without color."""
        gray = cv2.cvtColor(frame.image_bgr, cv2.COLOR_BGR2GRAY)
        width = min(self._width, frame.width)
        width, height = max(LEAST_SIDE, width), max(LEAST_SIDE, round(frame.height * width / frame.width))
        # Exact halves take OpenCV a tenth of the time of other factors, so that these get what halving leaves.
        while all(side % 2 == 0 and side >= 2 * least for side, least in zip(gray.shape, (height, width), strict=True)):
            gray = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_AREA)
        if gray.shape == (height, width):
            return np.asarray(gray, np.uint8)
        return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _flow_between(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        shorter, longer = sorted(before.shape)
        # DIS halves the picture until the longer side has about 32 pixels (to a half octave).
        self._dis.setPatchStride(_PATCH_STRIDE_NARROW if shorter < 0.36 * longer else PATCH_STRIDE)
        flow = self._dis.calc(before, after, None)
        if _is_cut(before, after, flow):
            return None
        # As complex numbers, since numpy copies pairs ten times as slowly.
        pairs = np.ascontiguousarray(flow.view(np.complex64)[::FLOW_STRIDE, ::FLOW_STRIDE])
        return pairs.view(np.float32)


def _is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8], flow: NDArray[np.float32]) -> bool:
    """Whether the second picture cannot be the first one, moved: compared on a sparse grid, blind to brightness."""
    start = _CHECK_STRIDE // 2
    grid = slice(start, None, _CHECK_STRIDE)
    sparse, unmoved = (np.ascontiguousarray(gray[grid, grid]) for gray in (before, after))
    # Most frames resemble the one before even where nothing is moved and the light is the same: nothing more has to be
    # looked at then.
    if np.count_nonzero(cv2.absdiff(sparse, unmoved) > _CHANGED) < CUT_SHARE * sparse.size:
        return False
    here = sparse.astype(np.float32)
    if _changed_share(here, unmoved.astype(np.float32)) < CUT_SHARE:
        return False
    rows = np.arange(start, before.shape[0], _CHECK_STRIDE)
    columns = np.arange(start, before.shape[1], _CHECK_STRIDE)
    moved = flow[np.ix_(rows, columns)]
    x = (columns[None, :] + moved[..., 0]).astype(np.float32)
    y = (rows[:, None] + moved[..., 1]).astype(np.float32)
    there = cv2.remap(after, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    inside = (x >= 0) & (y >= 0) & (x <= before.shape[1] - 1) & (y <= before.shape[0] - 1)
    if inside.sum() < here.size / 4:
        return True
    here, there = here[inside], there[inside]
    if _changed_share(here, there) < CUT_SHARE:
        return False
    here, there = here - here.mean(), there - there.mean()
    power = float(np.sqrt((here**2).mean() * (there**2).mean()))
    return power < 1.0 or float((here * there).mean()) / power < CUT_CORRELATION


def _changed_share(here: NDArray[np.float32], there: NDArray[np.float32]) -> float:
    """Share of the gray levels, of one shape, that differ by more than a change of the light explains; 0 for none."""
    difference = (here - there).ravel()
    if not difference.size:
        return 0.0
    middle = np.partition(difference, difference.size // 2)[difference.size // 2]
    return np.count_nonzero(np.abs(difference - middle) > _CHANGED) / difference.size


def sample(image: NDArray[np.generic], points: NDArray[np.complex64], stride: int = 1) -> NDArray[np.float32]:
    """An image's values at points x + iy in pixels of the unstrided image, bilinear; the border's beyond it.

    Args:
        image: (h, w) uint8 or (h, w, 2) float32.
        points: complex64 (N, P); pixel centers lie on whole numbers.
        stride: every how many pixels the image was sampled.
    """
    if points.size == 0:
        return np.zeros(points.shape + image.shape[2:], np.float32)
    if stride != 1:
        points = points * np.float32(1 / stride)
    # A complex number lies in memory as OpenCV wants x and y.
    places = np.ascontiguousarray(points).view(np.float32).reshape(*points.shape, 2)
    values = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32)
