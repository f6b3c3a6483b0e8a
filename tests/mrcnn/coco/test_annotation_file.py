"""Annotation files: structure, warnings, and the three encodings of a mask."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_file import (
    Annotation,
    AnnotationError,
    AnnotationWarnings,
    CocoImage,
    first_of,
    polygon_extent,
    read_annotation_file,
    rle_of,
)


def test_a_line_for_each_kind_with_count_and_first_ids():
    warnings = AnnotationWarnings()
    for number in range(8):
        warnings.add("object without area", 100 + number)
    warnings.add("class without an object", "cup")
    assert warnings.lines() == [
        "8 x object without area: 100, 101, 102, 103, 104 and 3 more",
        "1 x class without an object: cup",
    ]


def test_few_names_are_all_told():
    assert first_of([3, "a"]) == "3, a"
    assert first_of([]) == ""


def document():
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 30, "width": 50}],
        "categories": [{"id": 3, "name": "cup"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 100, "image_id": 7, "category_id": 1, "iscrowd": 1},
            {"image_id": 7.0, "category_id": 3},
        ],
    }


def read(folder, content):
    (folder / "a.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_annotation_file(folder / "a.json")


def test_everything_in_the_order_of_the_file(tmp_path):
    file = read(tmp_path, b"\xef\xbb\xbf" + json.dumps(document()).encode())  # a byte order mark, as Windows writes it
    assert file.images == {7: CocoImage(7, "a.png", 30, 50)}
    assert list(file.categories.items()) == [(3, "cup"), (1, "person")]
    crowd, other = file.annotations
    assert (crowd.image_id, crowd.category_id, crowd.is_crowd, crowd.record["id"]) == (7, 1, True, 100)
    assert (other.image_id, other.category_id, other.is_crowd) == (7, 3, False)
    assert crowd.label == f"{tmp_path / 'a.json'}: annotation 100"
    assert other.label == f"{tmp_path / 'a.json'}: annotation number 2"
    assert file.warnings == {}


def test_an_image_that_is_listed_again_with_the_same_file_and_size_is_taken_once(tmp_path):
    content = document()
    content["images"].append(dict(content["images"][0], license=3))
    file = read(tmp_path, content)
    assert list(file.images) == [7]
    assert file.warnings == {"image listed more than once, taken once": [7]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("categories"), "has no categories: expected COCO's instances format"),
        (lambda d: d.update(images={}), "has no images"),
        (lambda d: d["images"].clear(), "lists no images"),
        (lambda d: d["images"].append(dict(d["images"][0], width=51)), "image id 7 is used twice"),
        (lambda d: d["images"].append(3), "image number 2 must have a whole number 'id', got None"),
        (lambda d: d["images"][0].update(id="1"), "image number 1 must have a whole number 'id', got '1'"),
        (lambda d: d["images"][0].update(id=float("nan")), "image number 1 must have a whole number 'id', got nan"),
        (lambda d: d["images"][0].update(id=True), "image number 1 must have a whole number 'id', got True"),
        (lambda d: d["images"][0].update(width=0), "image 7 has the width 0"),
        (lambda d: d["images"][0].pop("height"), "image 7 must have a whole number 'height', got None"),
        (lambda d: d["images"][0].update(height=30.5), r"image 7 must have a whole number 'height', got 30\.5"),
        (lambda d: d["images"][0].pop("file_name"), "image 7 has no file_name"),
        (lambda d: d["categories"][0].pop("name"), "category 3 has no name"),
        (lambda d: d["categories"].append({"id": 3, "name": "dog"}), "category id 3 is used twice"),
        (lambda d: d["categories"].append({"id": 4, "name": "cup"}), "two categories are named 'cup'"),
        (lambda d: d["annotations"][0].update(category_id=99), "annotation 100 has category 99, which the file does"),
        (lambda d: d["annotations"][0].update(image_id=8), "annotation 100 belongs to image 8, which the file does"),
        (lambda d: d["annotations"][0].pop("category_id"), "annotation 100 must have a whole number 'category_id'"),
        (lambda d: d["annotations"].append(3), "annotation number 3 must have a whole number 'image_id', got None"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path, change, message):
    content = document()
    change(content)
    with pytest.raises(AnnotationError, match=rf"a\.json:? .*{message}") as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b"[" * 200_000, "not readable as JSON: maximum recursion depth"),
        (b"[]", "has no images, annotations, categories"),
    ],
)
def test_files_that_are_no_annotations(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=rf"a\.json .*{message}"):
        read(tmp_path, content)


def test_files_that_do_not_exist(tmp_path):
    with pytest.raises(AnnotationError, match=r"annotation file .*gone\.json does not exist"):
        read_annotation_file(tmp_path / "gone.json")
    with pytest.raises(AnnotationError, match=r"annotation file .* is a folder"):
        read_annotation_file(tmp_path)


HEIGHT, WIDTH = 30, 50


def decoded(segmentation):
    annotation = Annotation("a.json: annotation 5", 7, 3, False, {"segmentation": segmentation})
    return coco_mask.decode(rle_of(annotation, CocoImage(7, "a.png", HEIGHT, WIDTH)))


def random_mask():
    return np.asfortranarray(np.random.default_rng(2).random((HEIGHT, WIDTH)) > 0.7, np.uint8)


def counts_of(mask):
    """Run lengths by columns, zeros first: another way than pycocotools'."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return np.diff([0, *edges, flat.size]).tolist()


def test_text_and_number_run_lengths_are_the_same_mask():
    mask = random_mask()
    compressed = coco_mask.encode(mask)
    np.testing.assert_array_equal(decoded(compressed), mask)
    np.testing.assert_array_equal(decoded({**compressed, "counts": compressed["counts"].decode()}), mask)
    np.testing.assert_array_equal(decoded({"size": [HEIGHT, WIDTH], "counts": counts_of(mask)}), mask)


@pytest.mark.parametrize("mask", [np.zeros((HEIGHT, WIDTH)), np.ones((HEIGHT, WIDTH))])
def test_empty_and_full_masks(mask):
    mask = np.asfortranarray(mask, np.uint8)
    np.testing.assert_array_equal(decoded(coco_mask.encode(mask)), mask)


def test_a_polygon_far_outside_is_cut_without_running_out_of_memory():
    mask = decoded([[-1e9, 10, 1e9, 10, 1e9, 20, -1e9, 20]])
    assert mask.sum() == 10 * WIDTH
    assert mask[10:20].all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "add up to 7 pixels, not to 1500"),
        ({"size": [HEIGHT, WIDTH], "counts": [1600, -100]}, "whole numbers of 0 or more"),
        ({"size": [HEIGHT, WIDTH], "counts": "PPYo1"}, "add up to|cut off"),
        ({"size": [HEIGHT, WIDTH], "counts": "P\x7f"}, "foreign character"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "unreadable"),
        ({"size": [WIDTH, HEIGHT], "counts": [1500]}, r"its mask is \[50, 30\], the image \[30, 50\]"),
        ({"size": [HEIGHT, WIDTH]}, "'counts' is missing"),
        ([[1, 2, 3]], "expected a list of x, y, x, y … of finite numbers, got .1, 2, 3."),
        ([[1, 2, "x", 4, 5, 6]], "could not convert"),
        ([[1, 2, float("nan"), 4, 5, 6]], "finite numbers, got .1, 2, nan"),
        ("polygon", "expected polygons or run lengths, got str"),
    ],
)
def test_broken_ones_are_errors_that_name_the_annotation(segmentation, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        decoded(segmentation)
    assert str(caught.value).startswith("a.json: annotation 5 has an unreadable segmentation: ")


@pytest.mark.parametrize("segmentation", [None, [], [[]], [[1, 2, 3, 4]]])
def test_without_a_polygon_of_three_points_the_mask_is_empty(segmentation):
    assert decoded(segmentation).sum() == 0


def test_polygons_may_be_lists_of_points():
    np.testing.assert_array_equal(decoded([[[3, 4], [9, 4], [9, 8], [3, 8]]]), decoded([[3, 4, 9, 4, 9, 8, 3, 8]]))


def test_extent():
    assert polygon_extent([[5, 6, 9, 6, 9, 20], [], [1, 2, 3, 2, 3, 60]]).tolist() == [2, 1, 60, 9]
    assert polygon_extent({"counts": []}) is None
    assert polygon_extent([[]]) is None
    assert polygon_extent(None) is None
