"""What the exports share: names of frames, categories, boxes."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import InputError
from pipeline.report.detection_lines import StoredFrame, StoredObject
from pipeline.report.export import Categories, Origin, box_record
from tests.pipeline.report.stored import RUN, line, one


def frame(**more):
    return StoredFrame.model_validate_json(json.dumps(line(17, **more)))


def stored(**more):
    return StoredObject.model_validate_json(json.dumps(one(**more)))


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "clip/000017.jpg"),
        ({"camera": "hall"}, "clip/hall/000017.jpg"),
        ({"camera": "clip"}, "clip/000017.jpg"),
        ({"run": RUN | {"kind": "stills"}, "source": "photo.png"}, "photo.png"),
    ],
)
def test_the_name_of_a_frame(more, name):
    first = frame(**more)
    assert Origin.of("clip", first).image_name(first) == name


def test_categories_by_id():
    categories = Categories()
    for class_id, label in ((3, "car"), (1, "person"), (3, "car")):
        categories.add(Origin("a", False), stored(class_id=class_id, label=label))
    assert categories.records() == [
        {"id": 1, "name": "person", "supercategory": ""},
        {"id": 3, "name": "car", "supercategory": ""},
    ]
    with pytest.raises(InputError, match="class 3 is 'dog' in b, but 'car' elsewhere: export recordings of different"):
        categories.add(Origin("b", False), stored(class_id=3, label="dog"))


def test_boxes():
    assert box_record(stored(box=(1.5, 2.25, 4.1, 9), mask=False)) == [1.5, 2.25, 2.6, 6.75]
