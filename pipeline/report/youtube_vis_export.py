"""Exports tracks in the layout of YouTube-VIS: an annotation for each object, with a mask or null for each frame."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from pipeline.errors import InputError
from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Categories, Export, Origin, RecordList, box_record

logger = logging.getLogger(__name__)

MAX_FRAMES = 3000
"""A longer recording becomes several videos: each track has a value for each frame of its video."""


@dataclass(slots=True)
class _Track:
    """An object in one video: how often it had each class, and its mask, box and area by the position of the frame."""

    classes: Counter[int] = field(default_factory=Counter)
    found: dict[int, tuple[dict[str, Any], list[float], float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Video:
    id: int
    width: int
    height: int
    names: list[str] = field(default_factory=list)
    tracks: dict[int, _Track] = field(default_factory=dict)

    def is_full_for(self, frame: StoredFrame) -> bool:
        return len(self.names) == MAX_FRAMES or (self.width, self.height) != (frame.width, frame.height)


class YoutubeVisExport(Export):
    """A video for each recording, or for each stretch of one size of at most MAX_FRAMES; an annotation for each track.

    The category of a track is the class that it had most often in the video.

    Args:
        file: opened for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._categories = Categories()
        self._open: dict[str, _Video] = {}
        self._video_count = self._without_id = 0
        self._videos = RecordList()
        self._annotations = RecordList(file)
        file.write(b'{"info": {"description": "tracks of stream_segment"}, "licenses": [],\n"annotations": [')

    def add(self, origin: Origin, frame: StoredFrame) -> None:
        if origin.stills:
            raise InputError(f"{origin.name} consists of images: YouTube-VIS is for videos, --coco for images")
        video = self._open.get(origin.name)
        if video is None or video.is_full_for(frame):
            if video is not None:
                self._finish(video)
            self._video_count += 1
            video = self._open[origin.name] = _Video(self._video_count, frame.width, frame.height)
        for one in frame.objects:
            self._categories.add(origin, one)
            if one.mask is None:
                raise InputError(f"{origin.name}: frame {frame.frame} has no masks: run with detections.masks=true")
            if one.track_id is None:
                self._without_id += 1
                continue
            track = video.tracks.setdefault(one.track_id, _Track())
            track.classes[one.class_id] += 1
            track.found[len(video.names)] = one.mask.rle(), box_record(one), one.area
        video.names.append(origin.image_name(frame))

    def complete(self) -> None:
        for video in self._open.values():
            self._finish(video)
        if self._without_id and not self._annotations.count:
            raise InputError("no object has a track_id, which YouTube-VIS needs: run with tracking.enabled=true")
        if self._without_id:
            logger.info("YouTube-VIS leaves out %d objects of single frames, which have no track_id", self._without_id)
        self._file.write(b'],\n"videos": [')
        self._videos.copy_to(self._file)
        self._file.write(b'],\n"categories": ' + json.dumps(self._categories.records()).encode("ascii") + b"}\n")

    def close(self) -> None:
        self._videos.close()

    def _finish(self, video: _Video) -> None:
        """Write a video and its tracks."""
        length = len(video.names)
        size = {"width": video.width, "height": video.height, "length": length}
        self._videos.add({"id": video.id, **size, "file_names": video.names})
        for track_id, track in video.tracks.items():
            values = [track.found.get(position, (None, None, None)) for position in range(length)]
            segmentations, boxes, areas = zip(*values, strict=True)
            self._annotations.add(
                {
                    "id": self._annotations.count + 1,
                    "video_id": video.id,
                    "category_id": track.classes.most_common(1)[0][0],
                    "track_id": track_id,
                    "iscrowd": 0,
                    **size,
                    "segmentations": segmentations,
                    "bboxes": boxes,
                    "areas": areas,
                }
            )
