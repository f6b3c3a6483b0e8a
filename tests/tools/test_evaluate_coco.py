"""Average precision against cases with a known answer."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tools.evaluate_coco import evaluate

HEIGHT, WIDTH = 100, 160


def square(x, y, side):
    full = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    full[y : y + side, x : x + side] = 1
    return coco_mask.encode(full)


def annotation(index, x, y, side):
    return {
        "id": index,
        "image_id": 1,
        "category_id": 5,
        "iscrowd": 0,
        "area": side * side,
        "bbox": [x, y, side, side],
        "segmentation": square(x, y, side),
    }


def detection(score, x, y, side):
    box = [float(x), float(y), float(side), float(side)]
    return {"image_id": 1, "category_id": 5, "score": score, "bbox": box, "segmentation": square(x, y, side)}


@pytest.fixture
def truth():
    data = COCO()
    data.dataset = {
        "images": [{"id": 1, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 5, "name": "person"}],
        "annotations": [annotation(1, 0, 0, 20), annotation(2, 60, 10, 80)],
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
    return data


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_perfect_detections(truth, kind):
    found = evaluate(truth, [detection(0.9, 0, 0, 20), detection(0.8, 60, 10, 80)], kind, [5])
    assert found["all"] == {"AP": pytest.approx(1), "AP50": pytest.approx(1), "AR50": pytest.approx(1)}
    assert found["above 64²"]["AP"] == pytest.approx(1)
    assert math.isnan(found["32² to 64²"]["AP50"])


def test_one_of_two_found_behind_a_false_one(truth):
    found = evaluate(truth, [detection(0.9, 130, 60, 20), detection(0.8, 60, 10, 80)], "segm", [5])
    # precision 1/2 up to recall 1/2: 51 of the 101 recall points
    assert found["all"]["AP50"] == pytest.approx(0.5 * 51 / 101, abs=1e-6)
    assert found["below 32²"]["AR50"] == 0


def test_nothing_found(truth):
    assert evaluate(truth, [], "segm", [5])["all"] == {"AP": 0, "AP50": 0, "AR50": 0}
