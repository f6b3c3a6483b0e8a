"""Reads detections files line by line: damaged and foreign lines are errors, the cut last line of a run is not."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.scene import Direction, EventKind
from pipeline.settings.messages import reason
from pipeline.settings.presentation_settings import LineSettings, PrivacyMode, ZoneSettings

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 1 << 26
"""A line of a hundred objects has about 50 kB: what is longer comes from elsewhere."""

EXPECTED = "expected the lines that a run writes with --detections"

Seconds = Annotated[float, Field(ge=-1e10, le=1e10)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
Side = Annotated[int, Field(ge=1, le=16384)]
Id = Annotated[int, Field(ge=1, lt=1 << 31)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class StoredMask(_Record):
    """COCO's compressed run-length encoding of a mask of the frame's size (height, width)."""

    size: tuple[Side, Side]
    counts: str

    @model_validator(mode="after")
    def _has_as_many_pixels_as_its_size_says(self) -> Self:
        # pycocotools reads beyond the end of a cut string and leaves the pixels that the runs miss uninitialized.
        runs = run_lengths(self.counts)
        if runs is None or runs.min() < 0 or runs.sum() != self.size[0] * self.size[1]:
            raise ValueError(f"expected a run-length encoding of {self.size[0]} x {self.size[1]} pixels")
        return self

    def rle(self) -> dict[str, Any]:
        """As pycocotools takes it."""
        return {"size": list(self.size), "counts": self.counts}


class StoredObject(_Record):
    """One object of a frame; the box is x1, y1, x2, y2 in pixels."""

    class_id: Id
    label: str
    score: Annotated[float, Field(ge=0.0, le=1.0)]
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate]
    mask: StoredMask | None = None
    track_id: Id | None = None

    @model_validator(mode="after")
    def _box_is_ordered(self) -> Self:
        if self.box[2] < self.box[0] or self.box[3] < self.box[1]:
            raise ValueError(f"expected a box [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2, got {list(self.box)}")
        return self

    @property
    def area(self) -> float:
        """Pixels of the mask; of the box where there is no mask."""
        if self.mask is not None:
            return float(coco_mask.area(self.mask.rle()))
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class StoredEvent(_Record):
    """An event of one object; the fields are those of `pipeline.scene.Event.record`."""

    event: EventKind
    pts: Seconds
    track_id: int
    class_id: int
    label: str
    line: str | None = None
    zone: str | None = None
    direction: Direction | None = None
    dwell_s: Annotated[Seconds, Field(ge=0.0)] | None = None


class StoredRun(_Record):
    """What the first line says of the whole run."""

    kind: SourceKind
    privacy: PrivacyMode
    lines: tuple[LineSettings, ...] = ()
    zones: tuple[ZoneSettings, ...] = ()


class StoredFrame(_Record):
    """One line: a frame with its objects. `events` is None where the run wrote none; `run` is in the first line."""

    source: str
    frame: Annotated[int, Field(ge=0, lt=1 << 62)]
    pts: Seconds
    width: Side
    height: Side
    objects: tuple[StoredObject, ...]
    events: tuple[StoredEvent, ...] | None = None
    camera: str | None = None
    latency_ms: Annotated[Seconds, Field(ge=0.0)] | None = None
    run: StoredRun | None = None

    @model_validator(mode="after")
    def _masks_have_the_frames_size(self) -> Self:
        size = (self.height, self.width)
        if any(one.mask is not None and one.mask.size != size for one in self.objects):
            raise ValueError(f"expected masks of the frame's size, {self.height} x {self.width} pixels")
        return self


def read_frames(path: Path, on_bytes: Callable[[int], None] = lambda size: None) -> Iterator[StoredFrame]:
    """The frames of a detections file, in order.

    A last line that the end of the file cuts off is left out, with a warning.

    Args:
        path: the file.
        on_bytes: called with the size of each line that was read.

    Raises:
        InputError: the file cannot be read or has no frames, or a line is damaged or of another format.
    """
    number = 0
    try:
        with open(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                on_bytes(len(line))
                is_cut = not line.endswith(b"\n")
                try:
                    frame = _frame(line)
                except ValidationError as error:
                    if is_cut and number > 1 and len(line) < MAX_LINE_BYTES:
                        logger.warning("%s:%d: the last line is cut off and left out", path, number)
                        return
                    raise InputError(f"{path}:{number}: {_mistake(error)}; {EXPECTED}") from None
                yield frame
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if number == 0:
        raise InputError(f"{path} has no frames: {EXPECTED}")


def _frame(line: bytes) -> StoredFrame:
    """Raises ValidationError."""
    try:
        return StoredFrame.model_validate_json(line)
    except ValidationError:
        repaired = _without_surrogates(line) if b"\\ud" in line else None
        if repaired is None:
            raise
    return StoredFrame.model_validate_json(repaired)


def _without_surrogates(line: bytes) -> bytes | None:
    """The line with U+FFFD for the bytes of file names that are not UTF-8, which pydantic refuses; None if not JSON."""
    try:
        text = json.dumps(json.loads(line), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return re.sub("[\ud800-\udfff]", "\ufffd", text).encode("utf-8")


def _mistake(error: ValidationError) -> str:
    detail = error.errors()[0]
    if detail["type"] == "json_invalid":
        return "this is no JSON"
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {reason(detail)}" if key else reason(detail)


def run_lengths(counts: str) -> NDArray[np.int64] | None:
    """The run lengths of COCO's compressed run-length encoding; None if it is none.

    Each character holds five bits, the lowest ones first, and whether more follow; from the fourth number on, a number
    is the difference to the one two before it.

    Returns:
        int64 (R,): pixels outside, inside, outside … the mask, down the columns.
    """
    try:
        codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        return None
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # more than 31 bits
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)  # two's complement
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
