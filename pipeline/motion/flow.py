"""Dense optical flow (DIS, Kroeger et al. 2016) from each presented frame to the next, on downscaled gray frames.

Flow pixels are the pixels of the downscaled frames.

Shape letters: h, w height and width of a downscaled frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame

MAX_STEPS = 400
"""Steps kept, whatever their age: 44 MB at 320x180."""
MIN_SIDE = 32
"""Flow pixels. A level of DIS's pyramid must not be smaller than one of its patches: OpenCV reads beyond the end of the
level then, and the process crashes."""
PATCH_STRIDE = 6
"""Between DIS's patches of 8 pixels. Carried masks fit as well as with OpenCV's stride of 4, in two thirds of the time.
Narrow frames, which have few pixels at the top of the pyramid, keep 4."""
_PATCH_STRIDE_NARROW = 4
FLOW_STRIDE = 3
"""Every third flow vector is kept: with this preset, DIS computes every fourth and interpolates."""
CUT_FRACTION = 0.42
"""Fraction of the frame that must have changed, by more than 15 gray levels and beyond what flow and illumination
explain, for a scene cut. It is 0.46 and more between unrelated photographs; at most 0.37 in pans and zooms by 12
pixels, and at most 0.36 where a third of the frame is occluded at once."""
CUT_CORRELATION = 0.75
"""A scene cut has a lower correlation than this: unrelated photographs reach 0.71, a change of illumination keeps
0.99."""
_CHANGED = 15.0
_CHECK_STRIDE = 5
"""Flow pixels between the grid points that are checked for a cut."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowStep:
    """Optical flow from one presented frame to the next.

    Attributes:
        index: of the later frame.
        time_s: of the later frame, seconds.
        gray: uint8 (h, w), the later frame, downscaled.
        flow: float32 (h / 3, w / 3, 2), displacement in x and y of every third pixel of the earlier frame, flow pixels.
    """

    index: int
    time_s: float
    gray: NDArray[np.uint8]
    flow: NDArray[np.float32]


class FlowHistory:
    """The flow between the frames of the last seconds.

    Args:
        width: of the downscaled frames; narrower videos keep their own width.
        keep_s: seconds of flow to keep, on the frames' own clock.
    """

    def __init__(self, width: int, keep_s: float) -> None:
        self._width = width
        self._keep_s = keep_s
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._steps: deque[FlowStep] = deque()
        self._size_wh = (0, 0)
        self._last_dropped_index = -1

    @property
    def last(self) -> FlowStep:
        """The step to the newest frame."""
        return self._steps[-1]

    @property
    def width(self) -> int:
        """Of the downscaled frames, in pixels."""
        return int(self._steps[-1].gray.shape[1])

    @property
    def height(self) -> int:
        """Of the downscaled frames, in pixels."""
        return int(self._steps[-1].gray.shape[0])

    def add(self, frame: Frame) -> bool:
        """Adds the next presented frame. False if it does not continue the one before it: the history starts anew."""
        gray = self.downscaled_gray(frame)
        last = self._steps[-1] if self._steps else None
        flow = None
        if last is not None and (frame.width, frame.height) == self._size_wh and frame.pts_s >= last.time_s:
            flow = self._flow_between(last.gray, gray)
        if flow is None:
            self._last_dropped_index = last.index if last is not None else -1
            self._steps.clear()
            flow = np.zeros((0, 0, 2), np.float32)
            self._size_wh = (frame.width, frame.height)
        self._steps.append(FlowStep(frame.index, frame.pts_s, gray, flow))
        while self._steps[0].time_s < frame.pts_s - self._keep_s or len(self._steps) > MAX_STEPS:
            self._last_dropped_index = self._steps.popleft().index
        return len(self._steps) > 1

    def steps_since(self, frame: Frame) -> tuple[NDArray[np.uint8], Sequence[FlowStep]] | None:
        """The downscaled gray picture of an earlier frame and the steps from it to the newest frame.

        For a frame that was never presented, the first step is computed from it to the frame presented after it; for
        one with a substitute, from that, which makes up for the time between both. None if the steps are gone: the
        frame is too old, or there was a scene cut since.
        """
        if frame.index <= self._last_dropped_index or (frame.width, frame.height) != self._size_wh:
            return None
        later = [step for step in self._steps if step.index >= frame.index]
        if not later:
            return None
        if later[0].index == frame.index and frame.substitute is None:
            return later[0].gray, later[1:]
        gray = self.downscaled_gray(frame)
        flow = self._flow_between(gray, later[0].gray)
        if flow is None:
            return None
        first = FlowStep(later[0].index, later[0].time_s, later[0].gray, flow)
        return gray, [first, *later[1:]]

    def downscaled_gray(self, frame: Frame) -> NDArray[np.uint8]:
        """uint8 (h, w): the frame, or its substitute, downscaled and converted to gray."""
        gray = cv2.cvtColor(frame.inferred_bgr, cv2.COLOR_BGR2GRAY)
        width = min(self._width, frame.width)
        width, height = max(MIN_SIDE, width), max(MIN_SIDE, round(frame.height * width / frame.width))
        # OpenCV halves exactly in a tenth of the time of other factors, so that these get what halving leaves.
        while all(side % 2 == 0 and side >= 2 * goal for side, goal in zip(gray.shape, (height, width), strict=True)):
            gray = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_AREA)
        if gray.shape == (height, width):
            return np.asarray(gray, np.uint8)
        return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _flow_between(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """float32 (h / 3, w / 3, 2); None across a scene cut."""
        shorter, longer = sorted(before.shape)
        # DIS halves the frame until the longer side has about 32 pixels (to half an octave).
        self._dis.setPatchStride(_PATCH_STRIDE_NARROW if shorter < 0.36 * longer else PATCH_STRIDE)
        flow = self._dis.calc(before, after, None)
        if _is_cut(before, after, flow):
            return None
        # As complex numbers, since numpy copies pairs ten times as slowly.
        pairs = np.ascontiguousarray(flow.view(np.complex64)[::FLOW_STRIDE, ::FLOW_STRIDE])
        return pairs.view(np.float32)


def _is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8], flow: NDArray[np.float32]) -> bool:
    """Whether the second frame is not the first one warped by the flow: on a sparse grid, illumination aside."""
    start = _CHECK_STRIDE // 2
    grid = slice(start, None, _CHECK_STRIDE)
    sparse, unwarped = (np.ascontiguousarray(gray[grid, grid]) for gray in (before, after))
    # Most frames resemble the one before even without compensating motion and illumination: return early.
    if np.count_nonzero(cv2.absdiff(sparse, unwarped) > _CHANGED) < CUT_FRACTION * sparse.size:
        return False
    expected = sparse.astype(np.float32)
    if _changed_fraction(expected, unwarped.astype(np.float32)) < CUT_FRACTION:
        return False
    rows = np.arange(start, before.shape[0], _CHECK_STRIDE)
    columns = np.arange(start, before.shape[1], _CHECK_STRIDE)
    displacement = flow[np.ix_(rows, columns)]
    x = (columns[None, :] + displacement[..., 0]).astype(np.float32)
    y = (rows[:, None] + displacement[..., 1]).astype(np.float32)
    warped = cv2.remap(after, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    inside = (x >= 0) & (y >= 0) & (x <= before.shape[1] - 1) & (y <= before.shape[0] - 1)
    if inside.sum() < expected.size / 4:
        return True
    expected, warped = expected[inside], warped[inside]
    if _changed_fraction(expected, warped) < CUT_FRACTION:
        return False
    expected, warped = expected - expected.mean(), warped - warped.mean()
    power = float(np.sqrt((expected**2).mean() * (warped**2).mean()))
    return power < 1.0 or float((expected * warped).mean()) / power < CUT_CORRELATION


def _changed_fraction(expected: NDArray[np.float32], observed: NDArray[np.float32]) -> float:
    """Fraction of the gray levels, of one shape, that differ beyond a change of illumination; 0 for empty arrays."""
    difference = (expected - observed).ravel()
    if not difference.size:
        return 0.0
    median = np.partition(difference, difference.size // 2)[difference.size // 2]
    return np.count_nonzero(np.abs(difference - median) > _CHANGED) / difference.size


def sample_bilinear(image: NDArray[np.generic], points: NDArray[np.complex64], stride: int = 1) -> NDArray[np.float32]:
    """Samples an image at points x + iy in pixels of the unstrided image; beyond the border, the border's value.

    Args:
        image: (h, w) uint8 or (h, w, 2) float32.
        points: complex64 (N, P); pixel centers lie on whole numbers.
        stride: pixels of the unstrided image per pixel of `image`.
    """
    if points.size == 0:
        return np.zeros(points.shape + image.shape[2:], np.float32)
    if stride != 1:
        points = points * np.float32(1 / stride)
    # The memory layout of a complex number is the (x, y) pair that OpenCV expects.
    coordinates = np.ascontiguousarray(points).view(np.float32).reshape(*points.shape, 2)
    values = cv2.remap(image, coordinates, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32)
