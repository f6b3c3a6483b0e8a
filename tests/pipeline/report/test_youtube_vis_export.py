"""YouTube-VIS' layout, checked by its documentation: a list of masks, boxes and areas for each object, of its video's
length, with null where the object is not."""

from __future__ import annotations

import contextlib
import io
import json
import logging

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import InputError
from pipeline.report import youtube_vis_export
from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Origin
from pipeline.report.youtube_vis_export import YoutubeVisExport
from tests.pipeline.report.stored import HEIGHT, RUN, WIDTH, line, one, rle


def exported(*named_lines):
    file = io.BytesIO()
    with contextlib.closing(YoutubeVisExport(file)) as export:
        for name, one_line in named_lines:
            frame = StoredFrame.model_validate_json(json.dumps(one_line))
            export.add(Origin.of(name, frame), frame)
        export.complete()
    return json.loads(file.getvalue())


def check_layout(content):
    """Raises AssertionError unless the content is laid out as https://youtube-vos.org/dataset/vis documents it."""
    videos = {video["id"]: video for video in content["videos"]}
    categories = {category["id"] for category in content["categories"]}
    assert len(videos) == len(content["videos"])
    for video in videos.values():
        assert len(video["file_names"]) == video["length"] > 0
        assert len(set(video["file_names"])) == video["length"]
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert len(set(ids)) == len(ids)
    for annotation in content["annotations"]:
        video = videos[annotation["video_id"]]
        assert annotation["category_id"] in categories
        assert annotation["iscrowd"] == 0
        lists = [annotation[key] for key in ("segmentations", "bboxes", "areas")]
        assert [len(values) for values in lists] == [video["length"]] * 3
        assert any(value is not None for value in lists[0])
        for mask, box, area in zip(*lists, strict=True):
            assert (mask is None) == (box is None) == (area is None)
            if mask is not None:
                assert mask["size"] == [video["height"], video["width"]]
                assert coco_mask.decode(mask).sum() == area
                assert len(box) == 4


def test_two_videos_with_gaps_and_a_change_of_class():
    content = exported(
        ("a", line(0, one((0, 0, 8, 8), track_id=5))),
        ("a", line(1)),
        ("a", line(2, one((2, 0, 8, 8), track_id=9), one((1, 0, 8, 8), 2, "bus", track_id=5))),
        ("b", line(7, one((0, 0, 4, 4), track_id=5))),
        ("a", line(3, one((4, 0, 8, 8), 2, "bus", track_id=5))),
    )
    check_layout(content)
    first, second = content["videos"]
    assert first == {
        "id": 1,
        "width": WIDTH,
        "height": HEIGHT,
        "length": 4,
        "file_names": [f"a/00000{i}.jpg" for i in range(4)],
    }
    assert (second["id"], second["file_names"]) == (2, ["b/000007.jpg"])
    tracks = content["annotations"]
    found = [(track["id"], track["video_id"], track["category_id"], track["track_id"]) for track in tracks]
    assert found == [(1, 1, 2, 5), (2, 1, 1, 9), (3, 2, 1, 5)]
    assert tracks[0]["bboxes"] == [[0, 0, 8, 8], None, [1, 0, 7, 8], [4, 0, 4, 8]]
    assert tracks[0]["areas"] == [64, None, 56, 32]
    assert tracks[1]["bboxes"] == [None, None, [2, 0, 6, 8], None]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[0:8, 1:8] = 1
    assert np.array_equal(coco_mask.decode(tracks[0]["segmentations"][2]), expected)


def test_objects_without_an_id_are_left_out_with_a_line(caplog):
    with caplog.at_level(logging.INFO):
        content = exported(("a", line(0, one(track_id=1), one(track_id=None))))
    assert len(content["annotations"]) == 1
    assert caplog.messages == ["YouTube-VIS leaves out 1 objects of single frames, which have no track_id"]


def test_long_recordings_and_frames_of_another_size_begin_another_video(monkeypatch):
    monkeypatch.setattr(youtube_vis_export, "MAX_FRAMES", 2)
    boxed = one((0, 0, 4, 4), track_id=5)
    large = boxed | {"mask": rle((0, 0, 4, 4), (HEIGHT, 100))}
    lines = [line(0, boxed), line(1), line(2, boxed), line(3, large, width=100), line(4, large, width=100)]
    content = exported(*(("a", one_line) for one_line in lines))
    check_layout(content)
    assert [(video["id"], video["length"], video["width"]) for video in content["videos"]] == [
        (1, 2, 64),
        (2, 1, 64),
        (3, 2, 100),
    ]
    assert content["videos"][1]["file_names"] == ["a/000002.jpg"]
    found = [(track["id"], track["video_id"], track["track_id"]) for track in content["annotations"]]
    assert found == [(1, 1, 5), (2, 2, 5), (3, 3, 5)]


def test_a_recording_without_objects():
    content = exported(("a", line(0)))
    check_layout(content)
    assert (content["annotations"], content["categories"]) == ([], [])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line(0, one())], "no object has a track_id.*tracking.enabled=true"),
        ([line(0, one(mask=False, track_id=1))], "a: frame 0 has no masks: run with detections.masks=true"),
        ([line(0, run=RUN | {"kind": "stills"})], "a consists of images.*--coco for images"),
    ],
)
def test_what_the_format_cannot_hold(lines, message):
    with pytest.raises(InputError, match=message):
        exported(*(("a", one_line) for one_line in lines))
