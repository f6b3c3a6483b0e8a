"""Exports detections in the layout of COCO's instance annotations."""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import IO, Any

from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Categories, Export, Origin, box_record

_IN_MEMORY_BYTES = 1 << 24


class CocoExport(Export):
    """One image for each frame, one annotation for each object; ids count from 1 in the order of the frames.

    Args:
        file: opened for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._categories = Categories()
        # Annotations are written as they come, images beside them until there are no more annotations.
        self._images: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)
        self._image_count = self._annotation_count = 0
        file.write(b'{"info": {"description": "detections of stream_segment"}, "licenses": [],\n"annotations": [')

    def add(self, origin: Origin, frame: StoredFrame) -> None:
        self._image_count += 1
        image = {
            "id": self._image_count,
            "file_name": origin.image_name(frame),
            "width": frame.width,
            "height": frame.height,
            "video": origin.name,
            "frame": frame.frame,
            "pts": frame.pts,
        }
        self._images.write(_item(image, self._image_count == 1))
        for one in frame.objects:
            self._categories.add(origin, one)
            self._annotation_count += 1
            annotation: dict[str, Any] = {
                "id": self._annotation_count,
                "image_id": self._image_count,
                "category_id": one.class_id,
                "bbox": box_record(one),
                "area": one.area,
                "iscrowd": 0,
                "score": one.score,
                "track_id": one.track_id,
            }
            if one.mask is not None:
                annotation["segmentation"] = one.mask.rle()
            self._file.write(_item(annotation, self._annotation_count == 1))

    def complete(self) -> None:
        self._file.write(b'],\n"images": [')
        self._images.seek(0)
        shutil.copyfileobj(self._images, self._file)
        self._file.write(b'],\n"categories": ' + json.dumps(self._categories.records()).encode("ascii") + b"}\n")

    def close(self) -> None:
        self._images.close()


def _item(record: dict[str, Any], is_first: bool) -> bytes:
    """A record on a line of its own in a list."""
    return (b"\n" if is_first else b",\n") + json.dumps(record).encode("ascii")
