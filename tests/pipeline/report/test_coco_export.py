"""COCO's layout, as pycocotools loads it."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from pipeline.report.coco_export import CocoExport
from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Origin
from tests.pipeline.report.stored import HEIGHT, WIDTH, line, one


def exported(*lines):
    """The file, loaded by pycocotools, for frames of one recording."""
    file = io.BytesIO()
    export = CocoExport(file)
    for one_line in lines:
        export.add(Origin("clip", False), StoredFrame.model_validate_json(json.dumps(one_line)))
    export.complete()
    export.close()
    coco = COCO()
    coco.dataset = json.loads(file.getvalue())
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def test_images_annotations_and_masks():
    boxes = (10, 5, 20, 25), (0, 0, 64, 40), (3, 3, 4, 4)
    coco = exported(
        line(4, one(boxes[0], track_id=7), one(boxes[1], 2, "bus")), line(5), line(6, one(boxes[2], score=0.25))
    )
    assert sorted(coco.imgs) == [1, 2, 3]
    assert coco.imgs[2] == {
        "id": 2,
        "file_name": "clip/000005.jpg",
        "width": WIDTH,
        "height": HEIGHT,
        "video": "clip",
        "frame": 5,
        "pts": 0.5,
    }
    assert [coco.getAnnIds(image) for image in (1, 2, 3)] == [[1, 2], [], [3]]
    assert coco.loadCats(coco.getCatIds()) == [
        {"id": 1, "name": "person", "supercategory": ""},
        {"id": 2, "name": "bus", "supercategory": ""},
    ]
    for i, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        annotation = coco.anns[i]
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[y1:y2, x1:x2] = 1
        assert np.array_equal(coco.annToMask(annotation), expected)
        assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert annotation["area"] == (x2 - x1) * (y2 - y1)
        assert annotation["iscrowd"] == 0
    assert [coco.anns[i]["track_id"] for i in (1, 2, 3)] == [7, None, None]
    assert coco.anns[3]["score"] == 0.25


def test_without_masks_there_are_boxes():
    coco = exported(line(0, one((10, 5, 20, 25), mask=False)))
    assert "segmentation" not in coco.anns[1]
    assert coco.anns[1]["area"] == 200


@pytest.mark.parametrize("count", [0, 3])
def test_without_objects(count):
    coco = exported(*(line(i) for i in range(count)))
    assert (len(coco.imgs), coco.anns, coco.cats) == (count, {}, {})
