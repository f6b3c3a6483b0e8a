"""Exports tracks in the layout of YouTube-VIS: an annotation for each object, with a mask or null for each frame."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from pipeline.errors import InputError
from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Categories, Export, Origin, box_record

logger = logging.getLogger(__name__)

_LISTS = {"segmentations": "segmentation", "bboxes": "bbox", "areas": "area"}
"""The lists of an annotation, and the columns that they come from."""


@dataclass(slots=True)
class _Video:
    id: int
    width: int
    height: int
    length: int = 0


@dataclass(slots=True)
class _Track:
    id: int
    video: _Video
    classes: Counter[int] = field(default_factory=Counter)


class YoutubeVisExport(Export):
    """One video for each recording, one annotation for each track; its category is the class it had most often.

    The masks of a track, which the format wants together, are collected in a temporary database on disk.

    Args:
        file: opened for writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._categories = Categories()
        self._videos: dict[str, _Video] = {}
        self._tracks: dict[tuple[int, int], _Track] = {}
        self._without_id = 0
        # No name: SQLite keeps the database in a file that it deletes, and a few megabytes of it in memory.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            "pragma journal_mode=off; pragma synchronous=off;"
            "create table frames (video, position, name, primary key (video, position)) without rowid;"
            "create table masks (track, position, segmentation, bbox, area, primary key (track, position))"
            "without rowid;"
        )

    def add(self, origin: Origin, frame: StoredFrame) -> None:
        if origin.stills:
            raise InputError(f"{origin.name} consists of images: YouTube-VIS is for videos, --coco for images")
        video = self._videos.get(origin.name)
        if video is None:
            video = self._videos[origin.name] = _Video(len(self._videos) + 1, frame.width, frame.height)
        if (frame.width, frame.height) != (video.width, video.height):
            raise InputError(
                f"{origin.name}: frame {frame.frame} is {frame.width}x{frame.height}, the first one "
                f"{video.width}x{video.height}: a video of YouTube-VIS has one size; --coco takes several"
            )
        rows = []
        for one in frame.objects:
            self._categories.add(origin, one)
            if one.mask is None:
                raise InputError(f"{origin.name}: frame {frame.frame} has no masks: run with detections.masks=true")
            if one.track_id is None:
                self._without_id += 1
                continue
            key = video.id, one.track_id
            track = self._tracks.setdefault(key, _Track(len(self._tracks) + 1, video))
            track.classes[one.class_id] += 1
            texts = (json.dumps(value) for value in (one.mask.rle(), box_record(one), one.area))
            rows.append((track.id, video.length, *texts))
        self._database.execute("begin")
        self._database.execute(
            "insert into frames values (?, ?, ?)", (video.id, video.length, origin.image_name(frame))
        )
        self._database.executemany("insert or replace into masks values (?, ?, ?, ?, ?)", rows)
        self._database.execute("commit")
        video.length += 1

    def complete(self) -> None:
        if self._without_id and not self._tracks:
            raise InputError("no object has a track_id, which YouTube-VIS needs: run with tracking.enabled=true")
        if self._without_id:
            logger.info("YouTube-VIS: %d objects that have no track_id yet are left out", self._without_id)
        self._write('{"info": {"description": "tracks of stream_segment"}, "licenses": [],\n"videos": [')
        for i, video in enumerate(self._videos.values()):
            self._write(("" if i == 0 else ",") + f'\n{{"id": {video.id}, {_size(video)}, "file_names": [')
            self._write_list(
                json.dumps(name)
                for (name,) in self._database.execute(
                    "select name from frames where video = ? order by position", (video.id,)
                )
            )
            self._write("]}")
        self._write('],\n"annotations": [')
        for i, track in enumerate(self._tracks.values()):
            self._write(("" if i == 0 else ",") + "\n")
            self._write_track(track)
        self._write(f'],\n"categories": {json.dumps(self._categories.records())}}}\n')

    def close(self) -> None:
        self._database.close()

    def _write_track(self, track: _Track) -> None:
        category = track.classes.most_common(1)[0][0]
        self._write(f'{{"id": {track.id}, "video_id": {track.video.id}, "category_id": {category}, "iscrowd": 0, ')
        self._write(_size(track.video))
        for name, column in _LISTS.items():
            self._write(f', "{name}": [')
            self._write_list(self._values(track, column))
            self._write("]")
        self._write("}")

    def _values(self, track: _Track, column: str) -> Iterator[str]:
        """The JSON values of a track in each frame of its video; null where it was not found."""
        position = 0
        query = f"select position, {column} from masks where track = ? order by position"
        for at, value in self._database.execute(query, (track.id,)):
            for _ in range(position, at):
                yield "null"
            yield value
            position = at + 1
        for _ in range(position, track.video.length):
            yield "null"

    def _write_list(self, values: Iterable[str]) -> None:
        for i, value in enumerate(values):
            self._write(value if i == 0 else f", {value}")

    def _write(self, text: str) -> None:
        self._file.write(text.encode("ascii"))


def _size(video: _Video) -> str:
    return f'"width": {video.width}, "height": {video.height}, "length": {video.length}'
