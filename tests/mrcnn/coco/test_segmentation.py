"""Polygons and run lengths, whole and broken."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_errors import AnnotationError
from mrcnn.coco.annotation_file import Annotation, CocoImage
from mrcnn.coco.segmentation import polygon_extent, rle_of

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
