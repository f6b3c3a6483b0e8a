"""Exports detections in the layout of COCO's instance annotations."""

from __future__ import annotations

import json
from typing import IO, Any

from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Categories, Export, Origin, RecordList, box_record


class CocoExport(Export):
    """One image for each frame, one annotation for each object; ids count from 1 in the order of the frames.

    Args:
        file: opened for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._categories = Categories()
        self._images = RecordList()
        self._annotations = RecordList(file)
        file.write(b'{"info": {"description": "detections of stream_segment"}, "licenses": [],\n"annotations": [')

    def add(self, origin: Origin, frame: StoredFrame) -> None:
        image_id = self._images.count + 1
        self._images.add(
            {
                "id": image_id,
                "file_name": origin.image_name(frame),
                "width": frame.width,
                "height": frame.height,
                "video": origin.name,
                "frame": frame.frame,
                "pts": frame.pts,
            }
        )
        for one in frame.objects:
            self._categories.add(origin, one)
            annotation: dict[str, Any] = {
                "id": self._annotations.count + 1,
                "image_id": image_id,
                "category_id": one.class_id,
                "bbox": box_record(one),
                "area": one.area,
                "iscrowd": 0,
                "score": one.score,
                "track_id": one.track_id,
            }
            if one.mask is not None:
                annotation["segmentation"] = one.mask.rle()
            self._annotations.add(annotation)

    def complete(self) -> None:
        self._file.write(b'],\n"images": [')
        self._images.copy_to(self._file)
        self._file.write(b'],\n"categories": ' + json.dumps(self._categories.records()).encode("ascii") + b"}\n")

    def close(self) -> None:
        self._images.close()
