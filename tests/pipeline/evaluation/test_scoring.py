"""From images to numbers, with a segmenter that finds what it is told to."""

import cv2
import numpy as np
import pytest

from mrcnn.weights.coco_names import coco_names
from pipeline.errors import InputError
from pipeline.evaluation.scoring import evaluate, match_classes
from tests.pipeline.evaluation.scene import (
    DOG,
    LARGE,
    PERSON,
    SMALL,
    UNICORN,
    KnownSegmenter,
    annotation,
    truth_of,
)


def test_images_are_segmented_one_by_one_and_classes_found_by_name(tmp_path):
    truth = truth_of(
        tmp_path, annotation(SMALL), annotation(LARGE, "dog", image_id=2), annotation(LARGE, "kite"), images=3
    )
    segmenter = KnownSegmenter({1: [(0.9, PERSON, SMALL), (0.8, UNICORN, LARGE)], 2: [(0.7, PERSON, LARGE)]})
    steps = []
    found = evaluate(segmenter, truth, tmp_path, on_image=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (found.images, found.objects, found.crowds, found.detections) == (3, 2, 0, 2)
    assert (segmenter.opened, segmenter.closed) == (0, 0), "that is the caller's"
    for kind in ("mask", "box"):
        assert found.by_class[kind]["person"].ap == pytest.approx(1)
        assert found.by_class[kind]["Dog"].ap == 0
        assert found.by_area[kind]["all"].ap50 == pytest.approx(0.5)
    assert found.image_ms >= 0


def test_a_crowd_region_is_counted_apart(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, iscrowd=1))
    found = evaluate(KnownSegmenter({1: [(0.9, PERSON, (150, 10, 30, 40)), (0.8, PERSON, SMALL)]}), truth, tmp_path)
    assert (found.objects, found.crowds) == (1, 1)
    assert found.by_area["box"]["all"].ap == pytest.approx(1)


def test_only_some_classes(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, "dog"))
    segmenter = KnownSegmenter({1: [(0.9, PERSON, SMALL)]})
    found = evaluate(segmenter, truth, tmp_path, classes=["PERSON"])
    assert (found.objects, list(found.by_class["mask"])) == (1, ["person"])
    assert found.by_area["mask"]["all"].ap == pytest.approx(1)
    assert evaluate(segmenter, truth, tmp_path, classes=[str(DOG)]).by_area["mask"]["all"].ap == 0


def test_the_masks_threshold(tmp_path):
    truth = truth_of(tmp_path, annotation(LARGE))

    class Unsure(KnownSegmenter):
        def segment(self, image_bgr):
            found = super().segment(image_bgr)
            halves = np.full_like(found.mask_probs, 0.4)
            halves[:, :, :14] = 0.9
            return type(found)(found.boxes_xyxy, found.class_ids, found.scores, halves)

    segmenter = Unsure({1: [(0.9, PERSON, LARGE)]})
    at_half = evaluate(segmenter, truth, tmp_path).by_area["mask"]["all"]
    assert (at_half.ap50, at_half.ap75) == (pytest.approx(1), 0), "the left half, or a little more"
    assert evaluate(segmenter, truth, tmp_path, mask_threshold=0.3).by_area["mask"]["all"].ap75 == pytest.approx(1)


def test_classes_and_categories_that_have_no_partner_are_said_in_one_line(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL))
    matched = match_classes(("BG", "Dog", "person", "unicorn"), truth)
    assert (matched.category_ids, matched.names) == ({1: 9, 2: 5}, {9: "Dog", 5: "person"})
    assert matched.unmatched_text() == (
        "left out: 1 categories of the annotations are unknown to the model: kite; "
        "1 classes of the model are not annotated: unicorn"
    )
    assert match_classes(("BG", "kite", "dog", "person"), truth).unmatched_text() is None
    assert match_classes(("BG", "Dog", "person"), truth, ["person"]).category_ids == {2: 5}


def test_class_ids_with_gaps_are_matched_by_name(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL))
    labels = coco_names(91)
    matched = match_classes(labels, truth)
    # the file's own ids, whatever they are
    assert {labels[class_id]: category_id for class_id, category_id in matched.category_ids.items()} == {
        "person": 5, "dog": 9, "kite": truth_ids(truth)["kite"]
    }  # fmt: skip
    assert sorted(matched.category_ids) == [1, 18, 38], "COCO's category ids"
    assert len(matched.not_annotated) == 80 - 3
    assert "unused" not in " ".join(matched.not_annotated)


def truth_ids(truth):
    """Category ids by name."""
    return {name: category_id for category_id, name in truth.file.categories.items()}


@pytest.mark.parametrize(
    ("labels", "only", "message"),
    [
        (("BG", "cat", "car"), (), "no class of the model is a category of .*the model has cat, car, the file person"),
        (("BG", "person", "cat"), ("cat",), "--classes: 'cat' is no category of"),
        (("BG", "person", "cat"), ("cow",), "--classes: this model has no class 'cow'"),
    ],
)
def test_classes_that_cannot_be_evaluated(tmp_path, labels, only, message):
    with pytest.raises(InputError, match=message):
        match_classes(labels, truth_of(tmp_path, annotation(SMALL)), only)


def test_no_object_of_the_classes(tmp_path):
    with pytest.raises(InputError, match="has no object of the class person"):
        evaluate(KnownSegmenter({}), truth_of(tmp_path, annotation(SMALL, "dog")), tmp_path, classes=["person"])


def test_images_that_are_missing_unreadable_or_of_another_size(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), images=2)
    cv2.imwrite(str(tmp_path / "2.png"), np.zeros((260, 100, 3), np.uint8))
    with pytest.raises(InputError, match=r"2\.png is 100x260 pixels, .*instances\.json says 260x100"):
        evaluate(KnownSegmenter({}), truth, tmp_path)
    (tmp_path / "2.png").write_text("no picture")
    with pytest.raises(InputError, match=r"2\.png .*not an image"):
        evaluate(KnownSegmenter({}), truth, tmp_path)
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError, match=r"image 2 is '2\.png', but .*2\.png does not exist"):
        evaluate(KnownSegmenter({}), truth, tmp_path)


def test_the_record_has_null_where_there_is_no_number(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, "kite"))
    record = evaluate(KnownSegmenter({1: [(0.9, PERSON, SMALL)]}), truth, tmp_path).record()
    assert record["mask"]["by_size"]["small"] == {"objects": 1, "AP": 1, "AP50": 1, "AP75": 1, "AR": 1, "AR50": 1}
    assert record["box"]["by_size"]["large"]["AP50"] is None
    assert record["box"]["by_class"]["Dog"] == {"objects": 0} | dict.fromkeys(("AP", "AP50", "AP75", "AR", "AR50"))
    assert (record["unknown_categories"], record["classes_not_annotated"]) == (["kite"], ["unicorn"])
    assert (record["images"], record["objects"], record["detections"]) == (1, 1, 1)
