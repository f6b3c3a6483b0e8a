"""The interface of an export, which is given all frames in one pass."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.report.detection_lines import StoredFrame, StoredObject

_IN_MEMORY_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Origin:
    """The recording that frames belong to.

    Attributes:
        name: unique among the recordings of a report.
        stills: whether its frames are images.
    """

    name: str
    stills: bool

    @classmethod
    def of(cls, name: str, first: StoredFrame, number: int = 1) -> Origin:
        """The origin of a recording that begins with this frame, the first or a later one of its camera in the file."""
        name = name if first.camera in (None, name) else f"{name}/{first.camera}"
        return cls(
            name if number == 1 else f"{name}/{number}", first.run is not None and first.run.kind is SourceKind.STILLS
        )

    def image_name(self, frame: StoredFrame) -> str:
        """The name of a frame as an image: an image's own, or such as "clip/000017.jpg"."""
        return frame.source if self.stills else f"{self.name}/{frame.frame:06d}.jpg"


class Export(ABC):
    """Writes the frames of all recordings into a file of another format, in bounded memory.

    Lifecycle: `add` for each frame, `complete` unless something failed, `close`.

    Args:
        file: opened for writing; the caller closes it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @abstractmethod
    def add(self, origin: Origin, frame: StoredFrame) -> None:
        """Take the next frame; those of a recording come in order. Raises InputError."""

    @abstractmethod
    def complete(self) -> None:
        """Write what is left. Raises InputError if the frames cannot be written in this format."""

    def close(self) -> None:  # noqa: B027 - optional
        """Release what lies beside the file. May be called without `complete`."""


class RecordList:
    """Writes the records of a JSON list one by one.

    Args:
        file: the file of the list; None collects the records in a temporary file, to be copied when the list's turn
            comes.

    Attributes:
        count: records so far.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._is_temporary = file is None
        self._file: IO[bytes] = file or tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)
        self.count = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a record on a line of its own."""
        self._file.write((b",\n" if self.count else b"\n") + json.dumps(record).encode("ascii"))
        self.count += 1

    def copy_to(self, file: IO[bytes]) -> None:
        """Write what was collected."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)

    def close(self) -> None:
        """Delete the temporary file, if there is one."""
        if self._is_temporary:
            self._file.close()


class Categories:
    """The classes of all recordings, as COCO lists them."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def add(self, origin: Origin, one: StoredObject) -> None:
        """Take the class of an object. Raises InputError if its id had another name."""
        name = self._names.setdefault(one.class_id, one.label)
        if name != one.label:
            raise InputError(
                f"class {one.class_id} is {one.label!r} in {origin.name}, but {name!r} elsewhere: "
                "export recordings of different models into a file each"
            )

    def records(self) -> list[dict[str, object]]:
        """COCO's records, by id."""
        return [{"id": i, "name": name, "supercategory": ""} for i, name in sorted(self._names.items())]


def box_record(one: StoredObject) -> list[float]:
    """COCO's box: x, y, width and height in pixels."""
    x1, y1, x2, y2 = one.box
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
