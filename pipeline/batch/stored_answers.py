"""What the network reported on the frames of a stretch, in a file: exact, in order, each with its frame's checksum.

The file is a sequence of records: HEAD, then the arrays of the instances one after the other, compressed by zlib.
Shape letters: N instances in a frame; M side of a mask.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pipeline.batch.stretches import SeamError
from pipeline.records import Frame, Image, Instances

HEAD = struct.Struct("<qIIII")
"""Time stamp in ticks, checksum of the picture, N, M, bytes of the compressed arrays."""
_FIELDS = {"boxes_xyxy": "<f4", "class_ids": "<i4", "scores": "<f4", "mask_probs": "<f4"}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the network reported on a frame.

    Attributes:
        pts: of the frame, in ticks of the recording's time base.
        checksum: see `checksum_of`.
        instances: all that were reported.
    """

    pts: int
    checksum: int
    instances: Instances


def checksum_of(image_bgr: Image) -> int:
    """CRC-32 of a picture, uint8 (H, W, 3), and its size: equal for equal pictures."""
    height, width = image_bgr.shape[:2]
    return zlib.crc32(np.ascontiguousarray(image_bgr).data, height << 16 ^ width)


class AnswerWriter:
    """Writes the answers of a stretch.

    Args:
        path: a new file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb")

    def add(self, frame: Frame, instances: Instances) -> None:
        """Append what was reported on a frame. Raises OSError."""
        arrays = (np.ascontiguousarray(getattr(instances, name), kind) for name, kind in _FIELDS.items())
        content = zlib.compress(b"".join(array.tobytes() for array in arrays), 1) if len(instances) else b""
        head = (frame.pts, checksum_of(frame.image_bgr), len(instances), instances.mask_probs.shape[1], len(content))
        self._file.write(HEAD.pack(*head))
        self._file.write(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers in a file, one after the other.

    Raises:
        OSError: the file cannot be read.
        SeamError: it is damaged.
    """
    with open(path, "rb") as file:
        while head := file.read(HEAD.size):
            try:
                pts, checksum, count, side, length = HEAD.unpack(head)
                yield Answer(pts, checksum, _instances(file.read(length), count, side))
            except (struct.error, zlib.error, ValueError) as error:
                raise SeamError(f"{path} is damaged: {error}") from None


def _instances(content: bytes, count: int, side: int) -> Instances:
    if not count:
        return Instances.empty(side)
    shapes = {"boxes_xyxy": (count, 4), "mask_probs": (count, side, side)}
    buffer, offset, arrays = zlib.decompress(content), 0, {}
    for name, kind in _FIELDS.items():
        shape = shapes.get(name, (count,))
        array = np.frombuffer(buffer, kind, int(np.prod(shape)), offset).reshape(shape)
        arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
        offset += array.nbytes
    return Instances(**arrays)
