"""Average precision of cases whose answer is known by hand."""

import math

import pytest
from pycocotools import mask as coco_mask

from pipeline.evaluation.average_precision import AREAS, AveragePrecision, Kind, measure
from tests.pipeline.evaluation.scene import (
    CATEGORIES,
    HEIGHT,
    LARGE,
    OTHER_SMALL,
    SMALL,
    WIDTH,
    annotation,
    truth_of,
)

PERFECT = pytest.approx(1, abs=1e-9)


def detection(score, box, category="person", image_id=1):
    x, y, width, height = box
    corners = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    mask = coco_mask.merge(coco_mask.frPyObjects(corners, HEIGHT, WIDTH))
    found = {"image_id": image_id, "category_id": CATEGORIES[category], "score": score}
    return found | {"bbox": [float(value) for value in box], "segmentation": mask}


@pytest.mark.parametrize("kind", list(Kind))
def test_perfect_detections(tmp_path, kind):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE))
    found = measure(truth, [detection(0.9, SMALL), detection(0.8, LARGE)], kind, [5])
    assert found.by_area["all"] == AveragePrecision(2, PERFECT, PERFECT, PERFECT, PERFECT, PERFECT)
    assert [found.by_area[area].objects for area in AREAS] == [2, 1, 0, 1, 0, 1]
    assert found.by_area["large"].ap == found.by_area["above_64"].ap == PERFECT
    assert math.isnan(found.by_area["medium"].ap50)
    assert found.by_area["medium"].record() == dict.fromkeys(("AP", "AP50", "AP75", "AR", "AR50")) | {"objects": 0}


def test_one_of_two_found_behind_a_false_one(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE))
    found = measure(truth, [detection(0.9, OTHER_SMALL), detection(0.8, LARGE)], Kind.MASK, [5])
    # precision 1/2 up to recall 1/2: 51 of the 101 recall points
    assert found.by_area["all"].ap50 == pytest.approx(0.5 * 51 / 101, abs=1e-6)
    assert found.by_area["all"].ar50 == 0.5
    assert found.by_area["small"].ar50 == 0
    assert found.by_area["large"].ap == PERFECT, "the small false one is not large"


def test_a_false_one_of_another_size_is_not_counted_against_a_size(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL))
    found = measure(truth, [detection(0.9, LARGE), detection(0.8, SMALL)], Kind.BOX, [5])
    assert found.by_area["all"].ap == pytest.approx(0.5, abs=1e-6)
    assert found.by_area["small"].ap == PERFECT
    assert math.isnan(found.by_area["large"].ap)


@pytest.mark.parametrize("crowd", [True, False])
def test_what_lies_in_a_crowd_region_is_neither_right_nor_wrong(tmp_path, crowd):
    inside = (150, 20, 30, 30)
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, iscrowd=int(crowd)))
    found = measure(truth, [detection(0.9, inside), detection(0.8, SMALL)], Kind.MASK, [5]).by_area["all"]
    assert found.objects == (1 if crowd else 2)
    # Without a crowd: precision 1/2 up to a recall of 1/2.
    assert found.ap50 == pytest.approx(1 if crowd else 0.5 * 51 / 101, abs=1e-6)


def test_masks_and_boxes_are_told_apart(tmp_path):
    """The object is the left half of its box, the detection all of it: the boxes agree, the masks overlap by half."""
    x, y, width, height = LARGE
    left_half = [x, y, x + width / 2, y, x + width / 2, y + height, x, y + height]
    truth = truth_of(tmp_path, annotation(LARGE, polygon=left_half, area=width * height / 2))
    mask, box = (measure(truth, [detection(0.9, LARGE)], kind, [5]).by_area["all"] for kind in (Kind.MASK, Kind.BOX))
    assert box.ap == PERFECT
    assert (mask.ap50, mask.ap75) == (PERFECT, 0)
    # right at the first of ten overlaps only
    assert (mask.ap, mask.ar) == (pytest.approx(0.1, abs=1e-6), pytest.approx(0.1, abs=1e-6))


def test_a_mean_is_over_the_classes_that_have_objects(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, "dog"))
    found = measure(truth, [detection(0.9, SMALL), detection(0.8, LARGE)], Kind.MASK, [9, 5, 2])
    assert {category: numbers.objects for category, numbers in found.by_category.items()} == {2: 0, 5: 1, 9: 1}
    assert (found.by_category[9].ap, math.isnan(found.by_category[2].ap)) == (0, True)
    assert found.by_category[5].ap == PERFECT, "a false one behind the last right one costs nothing"
    assert found.by_area["all"].ap == pytest.approx(0.5, abs=1e-6)
    assert measure(truth, [detection(0.9, SMALL)], Kind.MASK, [9]).by_area["all"].ap == 0, "of other classes nothing"


def test_nothing_found(tmp_path):
    found = measure(truth_of(tmp_path, annotation(SMALL)), [], Kind.MASK, [5])
    assert found.by_area["all"] == AveragePrecision(1, 0, 0, 0, 0, 0)
    assert math.isnan(found.by_area["large"].ap)


def test_the_hundred_best_of_an_image_count(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL))
    false_ones = [detection(0.9, (40 + index, 30, 20, 20)) for index in range(100)]
    assert measure(truth, [*false_ones[:99], detection(0.1, SMALL)], Kind.BOX, [5]).by_area["all"].ar50 == 1
    assert measure(truth, [*false_ones, detection(0.1, SMALL)], Kind.BOX, [5]).by_area["all"].ar50 == 0
