"""Average precision of cases whose answer is known by hand."""

import math

import pytest
from pycocotools import mask as coco_mask

from mrcnn.coco.average_precision import ALL_AREAS, AREAS, AveragePrecision, Kind, measure, paired_difference

HEIGHT, WIDTH = 100, 260
PERSON, DOG, KITE = 5, 9, 2
SMALL, OTHER_SMALL, LARGE = (0, 0, 20, 20), (30, 70, 20, 20), (140, 2, 100, 96)
"""x, y, width, height: areas of 400, 400 and 9,600 pixels."""

PERFECT = pytest.approx(1, abs=1e-9)


def record(box, category_id, share=1.0):
    """A COCO record whose mask is the left `share` of its box."""
    x, y, width, height = box
    right = x + share * width
    mask = coco_mask.merge(coco_mask.frPyObjects([[x, y, right, y, right, y + height, x, y + height]], HEIGHT, WIDTH))
    return {"image_id": 1, "category_id": category_id, "bbox": [float(value) for value in box], "segmentation": mask}


def annotation(box, category_id=PERSON, share=1.0, iscrowd=0):
    return record(box, category_id, share) | {"iscrowd": iscrowd, "area": share * box[2] * box[3], "id": 0}


def detection(score, box):
    return record(box, PERSON) | {"score": score}


@pytest.mark.parametrize("kind", list(Kind))
def test_perfect_detections(kind):
    truth = [annotation(SMALL), annotation(LARGE)]
    found = measure(truth, [detection(0.9, SMALL), detection(0.8, LARGE)], kind, [PERSON])
    assert found.by_area["all"] == AveragePrecision(2, PERFECT, PERFECT, PERFECT, PERFECT, PERFECT)
    assert [found.by_area[area].objects for area in AREAS] == [2, 1, 0, 1, 0, 1]
    assert found.by_area["large"].ap == found.by_area["above_64"].ap == PERFECT
    assert math.isnan(found.by_area["medium"].ap50)
    assert found.by_area["medium"].record() == dict.fromkeys(("AP", "AP50", "AP75", "AR", "AR50")) | {"objects": 0}


def test_one_of_two_found_behind_a_false_one():
    truth = [annotation(SMALL), annotation(LARGE)]
    found = measure(truth, [detection(0.9, OTHER_SMALL), detection(0.8, LARGE)], Kind.MASK, [PERSON])
    # precision 1/2 up to recall 1/2: 51 of the 101 recall points
    assert found.by_area["all"].ap50 == pytest.approx(0.5 * 51 / 101, abs=1e-6)
    assert found.by_area["all"].ar50 == 0.5
    assert found.by_area["small"].ar50 == 0
    assert found.by_area["large"].ap == PERFECT, "the small false one is not large"


def test_a_false_one_of_another_size_is_not_counted_against_a_size():
    truth = [annotation(SMALL)]
    found = measure(truth, [detection(0.9, LARGE), detection(0.8, SMALL)], Kind.BOX, [PERSON])
    assert found.by_area["all"].ap == pytest.approx(0.5, abs=1e-6)
    assert found.by_area["small"].ap == PERFECT
    assert math.isnan(found.by_area["large"].ap)


@pytest.mark.parametrize("crowd", [True, False])
def test_what_lies_in_a_crowd_region_is_neither_right_nor_wrong(crowd):
    inside = (150, 20, 30, 30)
    truth = [annotation(SMALL), annotation(LARGE, iscrowd=int(crowd))]
    found = measure(truth, [detection(0.9, inside), detection(0.8, SMALL)], Kind.MASK, [PERSON]).by_area["all"]
    assert found.objects == (1 if crowd else 2)
    # Without a crowd: precision 1/2 up to a recall of 1/2.
    assert found.ap50 == pytest.approx(1 if crowd else 0.5 * 51 / 101, abs=1e-6)


def test_masks_and_boxes_are_told_apart():
    """The object is the left half of its box, the detection all of it: the boxes agree, the masks overlap by half."""
    truth = [annotation(LARGE, share=0.5)]
    found = [detection(0.9, LARGE)]
    mask, box = (measure(truth, found, kind, [PERSON]).by_area["all"] for kind in (Kind.MASK, Kind.BOX))
    assert box.ap == PERFECT
    assert (mask.ap50, mask.ap75) == (PERFECT, 0)
    # right at the first of ten overlaps only
    assert (mask.ap, mask.ar) == (pytest.approx(0.1, abs=1e-6), pytest.approx(0.1, abs=1e-6))


def test_a_mean_is_over_the_classes_that_have_objects():
    truth = [annotation(SMALL), annotation(LARGE, DOG)]
    found = measure(truth, [detection(0.9, SMALL), detection(0.8, LARGE)], Kind.MASK, [DOG, PERSON, KITE])
    assert {name: numbers.objects for name, numbers in found.by_category.items()} == {KITE: 0, PERSON: 1, DOG: 1}
    assert (found.by_category[DOG].ap, math.isnan(found.by_category[KITE].ap)) == (0, True)
    assert found.by_category[PERSON].ap == PERFECT, "a false one behind the last right one costs nothing"
    assert found.by_area["all"].ap == pytest.approx(0.5, abs=1e-6)
    assert measure(truth, [detection(0.9, SMALL)], Kind.MASK, [DOG]).by_area["all"].ap == 0, "of other classes nothing"


def test_nothing_found():
    found = measure([annotation(SMALL)], [], Kind.MASK, [PERSON])
    assert found.by_area["all"] == AveragePrecision(1, 0, 0, 0, 0, 0)
    assert math.isnan(found.by_area["large"].ap)


def test_the_hundred_best_of_an_image_count():
    truth = [annotation(SMALL)]
    false_ones = [detection(0.9, (40 + index, 30, 20, 20)) for index in range(100)]
    assert measure(truth, [*false_ones[:99], detection(0.1, SMALL)], Kind.BOX, [PERSON]).by_area["all"].ar50 == 1
    assert measure(truth, [*false_ones, detection(0.1, SMALL)], Kind.BOX, [PERSON]).by_area["all"].ar50 == 0


def test_one_threshold_and_one_range_of_areas():
    found = measure([annotation(LARGE)], [detection(0.9, LARGE)], Kind.MASK, [PERSON, DOG], ALL_AREAS, [0.5])
    assert list(found.by_area) == ["all"]
    numbers = found.by_category[PERSON]
    assert (numbers.ap50, numbers.ap, numbers.ar50, math.isnan(numbers.ap75)) == (PERFECT, PERFECT, PERFECT, True)
    assert measure([], [], Kind.MASK, [PERSON], ALL_AREAS, [0.5]).by_category[PERSON].objects == 0


def images_of(count, found):
    """As many images as `count` with a large and a small person, and the detections that `found` makes of each."""
    truth, detections = [], []
    for image in range(count):
        truth += [annotation(box) | {"image_id": image} for box in (LARGE, SMALL)]
        detections += [one | {"image_id": image} for one in found(image)]
    return truth, detections


def test_the_difference_over_all_images_is_that_of_average_precision():
    def some(image):
        large = record(LARGE, PERSON, share=0.5 + 0.06 * (image % 8)) | {"score": 0.3 + 0.1 * (image % 5)}
        return [large, detection(0.6, OTHER_SMALL)] + [detection(0.5, SMALL)] * (image % 3)

    truth, first = images_of(12, some)
    _, second = images_of(12, lambda image: [detection(0.8, LARGE)] * (image % 4 > 0))
    before, after = (measure(truth, one, Kind.MASK, [PERSON, DOG]).by_area["all"].ap for one in (first, second))
    found = paired_difference(truth, first, second, [PERSON, DOG], samples=50)
    assert 0.1 < before < 0.9
    assert found.mean == pytest.approx(after - before, abs=1e-9)
    assert found.low < found.mean < found.high


def test_the_same_detections_differ_nowhere():
    truth, found = images_of(5, lambda image: [detection(0.9, LARGE)] * (image > 1))
    same = paired_difference(truth, found, found, [PERSON], samples=20)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_images_are_drawn_in_pairs():
    """What is hard for both does not widen the interval: the second misses one small person of each ten images."""
    truth, first = images_of(40, lambda image: [detection(0.9, SMALL)] + [detection(0.8, LARGE)] * (image % 2))
    _, second = images_of(
        40, lambda image: [detection(0.9, SMALL)] * (image % 10 > 0) + [detection(0.8, LARGE)] * (image % 2)
    )
    apart = paired_difference(truth, first, second, [PERSON], samples=200)
    assert apart.mean == pytest.approx(-4 / 80, abs=0.01)
    assert -0.11 < apart.low < -0.02
    assert -0.03 < apart.high <= 0


def test_without_objects_there_is_no_difference():
    assert math.isnan(paired_difference([], [], [], [PERSON], samples=3).mean)
