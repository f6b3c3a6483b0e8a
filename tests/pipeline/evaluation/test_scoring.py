"""Annotation files, what is read and what is refused; images to numbers, with a segmenter told what to find."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.weights.coco_names import coco_names
from pipeline.errors import InputError
from pipeline.evaluation.scoring import evaluate, image_paths, match_classes, read_ground_truth
from tests.pipeline.evaluation.scene import (
    DOG,
    HEIGHT,
    LARGE,
    PERSON,
    SMALL,
    UNICORN,
    WIDTH,
    KnownSegmenter,
    annotation,
    document,
    truth_of,
    write,
)


def pixels(box):
    x, y, width, height = box
    full = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    full[y : y + height, x : x + width] = 1
    return full


def uncompressed(mask):
    """Run lengths down the columns, zeros first, counted by hand."""
    counts, value = [0], 0
    for pixel in mask.ravel(order="F"):
        if pixel == value:
            counts[-1] += 1
        else:
            counts.append(1)
            value = pixel
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def compressed(mask):
    encoded = coco_mask.encode(mask)
    return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode("ascii")}


@pytest.mark.parametrize("as_rle", [None, uncompressed, compressed])
def test_polygons_and_run_lengths_are_the_same_mask(tmp_path, as_rle):
    record = annotation(LARGE)
    if as_rle is not None:
        record["segmentation"] = as_rle(pixels(LARGE))
    truth = read_ground_truth(write(tmp_path, record))
    np.testing.assert_array_equal(coco_mask.decode(truth.annotations[0]["segmentation"]), pixels(LARGE))
    assert truth.annotations[0]["bbox"] == list(LARGE)
    assert truth.file.categories == {5: "person", 9: "dog", 2: "kite"}


def test_what_is_not_said_is_taken_from_the_mask(tmp_path):
    record = annotation(SMALL)
    del record["bbox"], record["area"], record["iscrowd"]
    found = read_ground_truth(write(tmp_path, record)).annotations[0]
    assert (found["bbox"], found["area"], found["iscrowd"]) == ([0, 0, 20, 20], 400, 0)


def test_a_limit_takes_the_first_images_and_their_objects(tmp_path):
    path = write(tmp_path, annotation(SMALL, image_id=3), annotation(LARGE, image_id=1), images=3)
    truth = read_ground_truth(path, limit=2)
    assert [image.file_name for image in truth.images.values()] == ["1.png", "2.png"]
    assert [record["bbox"] for record in truth.annotations] == [list(LARGE)]
    assert len(read_ground_truth(path, limit=9).images) == 3


@pytest.mark.parametrize(
    "useless",
    [
        annotation(SMALL, polygon=[5, 5, 9, 5, 5, 5]),
        annotation(SMALL) | {"segmentation": []},
        annotation(SMALL) | {"segmentation": [[1, 2, 3, 4]]},
        annotation((WIDTH + 5, 3, 20, 20)),
        annotation(SMALL, bbox=[WIDTH, 3, 20, 20]),
        annotation(SMALL, bbox=[4, 3, 0, 20]),
    ],
)
def test_objects_without_area_in_the_image_are_left_out_and_counted(tmp_path, useless):
    truth = read_ground_truth(write(tmp_path, useless, annotation(LARGE)))
    assert truth.without_area == 1
    assert [record["bbox"] for record in truth.annotations] == [list(LARGE)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"].clear(), "no annotated object in its 1 images"),
        (lambda d: d["annotations"][0].update(image_id=8), "annotation 0 belongs to image 8, which the file does not"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), r"annotation 0 has the bbox \[1, 2, 3\]"),
        (lambda d: d["annotations"][0].update(bbox=[1, "b", 3, 4]), "annotation 0 .* no number"),
        (lambda d: d["annotations"][0].update(area=float("nan")), "annotation 0 has the area nan, expected"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 0 .*x, y, x, y"),
        # pycocotools would decode it to a mask of foreign memory
        (
            lambda d: d["annotations"][0].update(segmentation={"size": [100, 260], "counts": "0" * 17}),
            "add up to 0 pixels",
        ),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path, change, message):
    content = document(annotation(SMALL))
    change(content)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=rf"instances\.json.*{message}") as caught:
        read_ground_truth(path)
    assert "\n" not in str(caught.value)


def test_annotations_need_no_ids_and_may_be_there_twice(tmp_path):
    content = document(annotation(SMALL), annotation(SMALL))
    for record in content["annotations"]:
        del record["id"]
    (tmp_path / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    assert len(read_ground_truth(tmp_path / "instances.json").annotations) == 2


def test_missing_images(tmp_path):
    truth = read_ground_truth(write(tmp_path, annotation(SMALL), images=2))
    assert image_paths(truth, tmp_path) == {1: tmp_path / "1.png", 2: tmp_path / "2.png"}
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError, match=r"instances\.json: image 2 is '2\.png', but .*2\.png does not exist"):
        image_paths(truth, tmp_path)
    with pytest.raises(InputError, match=r"the image folder .*elsewhere does not exist"):
        image_paths(truth, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"the image folder .*1\.png is a file"):
        image_paths(truth, tmp_path / "1.png")


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
