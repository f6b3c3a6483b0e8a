"""Pasting box-local masks, against the network's own full-frame pasting and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.utils import unmold_mask
from pipeline.drawing.masks import box_edges, encode_mask, paste_mask

HEIGHT, WIDTH = 97, 131


def full_frame(pasted, y0, x0, height=HEIGHT, width=WIDTH):
    frame = np.zeros((height, width), bool)
    frame[y0 : y0 + pasted.shape[0], x0 : x0 + pasted.shape[1]] = pasted
    return frame


def box(*edges):
    return np.array(edges, np.float32)


@pytest.mark.parametrize(
    "edges",
    [
        (3, 5, 101, 90),
        (0, 0, WIDTH, HEIGHT),
        (40, 20, 69, 49),
        (40, 20, 68, 48),
        (10, 20, 27, 31),
        (10, 20, 17, 90),
        (100, 50, 130, 60),
        (64, 64, 65, 65),
        (64, 64, 66, 67),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_unmold_mask_on_whole_pixels(edges, seed):
    rng = np.random.default_rng(seed)
    # A smooth blob with random noise: edges at all angles, and values near the threshold everywhere.
    y, x = np.mgrid[0:28, 0:28]
    blob = 1 / (1 + np.exp(np.hypot(y - 12, (x - 15) / 1.3) - 10))
    mask_probs = np.clip(blob + rng.normal(0, 0.15, (28, 28)), 0, 1).astype(np.float32)
    x1, y1, x2, y2 = edges

    pasted = full_frame(*paste_mask(mask_probs, box(*edges), HEIGHT, WIDTH, 0.5))
    expected = unmold_mask(mask_probs, (y1, x1, y2, x2), (HEIGHT, WIDTH, 3))

    # float32 against float64: a pixel that lies on the threshold may differ.
    assert np.count_nonzero(pasted != expected) <= 1 + expected.size // 10_000


@pytest.mark.parametrize(
    "edges", [(-20, -11, 60, 50), (90, 60, 170, 120), (-30, -40, 200, 150), (-3, 20, 9, 31), (125, 5, 145, 20)]
)
def test_a_box_partly_outside_is_the_cut_of_one_inside(edges):
    rng = np.random.default_rng(4)
    mask_probs = rng.random((28, 28), np.float32)
    margin = 300
    inside = np.asarray(edges, np.float32) + margin
    whole = full_frame(*paste_mask(mask_probs, inside, HEIGHT + 600, WIDTH + 600, 0.5), HEIGHT + 600, WIDTH + 600)

    cut = full_frame(*paste_mask(mask_probs, box(*edges), HEIGHT, WIDTH, 0.5))

    expected = whole[margin : margin + HEIGHT, margin : margin + WIDTH]
    assert expected.any()
    assert np.count_nonzero(cut != expected) <= 1


@pytest.mark.parametrize(
    "edges",
    [
        (10, 10, 10, 40),
        (10, 40, 30, 40),
        (30, 10, 20, 40),
        (WIDTH, 10, WIDTH + 20, 40),
        (-20, 10, 0, 40),
        (10, -9, 40, 0),
        (10, HEIGHT, 40, HEIGHT + 3),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
    ],
)
def test_nothing_is_pasted_for_boxes_without_visible_area(edges):
    pasted, _, _ = paste_mask(np.ones((28, 28), np.float32), box(*edges), HEIGHT, WIDTH, 0.5)
    assert pasted.shape == (0, 0)


def test_a_full_mask_fills_its_box_and_an_empty_one_nothing():
    pasted, y0, x0 = paste_mask(np.ones((28, 28), np.float32), box(7, 3, 60, 41), HEIGHT, WIDTH, 0.5)
    assert (pasted.shape, y0, x0) == ((38, 53), 3, 7)
    assert pasted.all()
    pasted, _, _ = paste_mask(np.zeros((28, 28), np.float32), box(7, 3, 60, 41), HEIGHT, WIDTH, 0.5)
    assert not pasted.any()


def test_a_huge_box_costs_no_more_than_the_frame():
    pasted, y0, x0 = paste_mask(np.ones((28, 28), np.float32), box(-1e7, -1e7, 1e7, 1e7), HEIGHT, WIDTH, 0.5)
    assert (pasted.shape, y0, x0) == ((HEIGHT, WIDTH), 0, 0)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((2.4, 3.6, 9.5, 9.4), (2, 4, 10, 9)),
        ((2.6, 3.0, 3.2, 9.0), (2, 3, 3, 9)),  # would round to no width: keeps the pixel that it begins in
        ((5.1, 5.1, 5.2, 5.3), (5, 5, 6, 6)),
        ((-0.4, -0.6, 4.0, 4.0), (0, -1, 4, 4)),
    ],
)
def test_box_edges_by_hand(edges, expected):
    assert box_edges(box(*edges)) == expected


def test_the_threshold_counts():
    # A ramp from left (0) to right (1) over 56 pixels: cell k is worth k / 27.
    mask_probs = np.tile(np.linspace(0, 1, 28, dtype=np.float32), (28, 1))
    low, _, _ = paste_mask(mask_probs, box(0, 0, 56, 28), HEIGHT, WIDTH, 0.25)
    high, _, _ = paste_mask(mask_probs, box(0, 0, 56, 28), HEIGHT, WIDTH, 0.75)
    # Pixel i is worth ((i + 0.5) / 2 - 0.5) / 27 up to the last cell's center.
    assert np.flatnonzero(low[14])[0] == 14
    assert np.flatnonzero(high[14])[0] == 41


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("density", [0.02, 0.5, 0.98])
def test_run_lengths_equal_those_of_pycocotools(seed, density):
    rng = np.random.default_rng(seed)
    frame_hw = 53, 71
    y0, x0 = rng.integers(0, frame_hw) * (seed % 3 > 0)
    height, width = (int(rng.integers(1, most + 1)) for most in (53 - y0, 71 - x0))
    if seed % 4 == 0:
        y0, height = 0, 53  # runs continue from the bottom of a column to the top of the next
    pasted = rng.random((height, width)) < density
    full = np.zeros((53, 71), np.uint8)
    full[y0 : y0 + height, x0 : x0 + width] = pasted
    expected = coco_mask.encode(np.asfortranarray(full))
    assert encode_mask(pasted, int(y0), int(x0), 53, 71) == {
        "size": [53, 71],
        "counts": expected["counts"].decode(),
    }


@pytest.mark.parametrize("value", [True, False])
def test_run_lengths_of_full_and_empty_masks(value):
    pasted = np.full((53, 71), value)
    expected = coco_mask.encode(np.asfortranarray(pasted.astype(np.uint8)))["counts"].decode()
    assert encode_mask(pasted, 0, 0, 53, 71)["counts"] == expected
    nothing = coco_mask.encode(np.zeros((53, 71), np.uint8, order="F"))["counts"].decode()
    assert encode_mask(np.zeros((0, 0), bool), 0, 0, 53, 71)["counts"] == nothing
