"""Annotation files: what is read, what is left out, and what is refused in one line that names it."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import InputError
from pipeline.evaluation.ground_truth import image_paths, read_ground_truth
from tests.pipeline.evaluation.scene import HEIGHT, LARGE, SMALL, WIDTH, annotation, document, write


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
