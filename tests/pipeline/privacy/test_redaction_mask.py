import numpy as np
import pytest

from pipeline.privacy.redaction_mask import (
    MAX_GRID_SIDE,
    MaskGrid,
    change_mask,
    dilate,
    downscaled_gray,
    instances_mask,
)
from pipeline.records import Instances


def instances_of(boxes, probs):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.ones(count, np.int32),
        np.full(count, 0.9, np.float32),
        np.array(probs, np.float32).reshape(count, 28, 28),
    )


@pytest.mark.parametrize(("height", "width", "cells"), [(90, 160, (90, 160)), (719, 1280, (180, 320)), (641, 65, None)])
def test_the_grid_has_the_aspect_ratio_of_the_frame_and_is_never_larger(height, width, cells):
    grid = MaskGrid.for_image(np.zeros((height, width, 3), np.uint8))
    assert max(grid.width, grid.height) == min(MAX_GRID_SIDE, max(height, width))
    assert grid.height / grid.width == pytest.approx(height / width, rel=0.03)
    assert cells is None or (grid.height, grid.width) == cells


def test_every_pixel_that_a_set_cell_touches_is_redacted():
    grid = MaskGrid.for_image(np.zeros((719, 1280, 3), np.uint8))
    mask = grid.empty()
    mask[10, 20] = 255
    pixels = grid.to_frame(mask)
    assert pixels.shape == (719, 1280)
    assert set(np.unique(pixels)) == {0, 255}
    assert (pixels[40:43, 80:84] == 255).all()
    assert not pixels[:30].any()
    assert not pixels[56:].any()


def test_objects_are_redacted_by_their_masks():
    grid = MaskGrid.for_image(np.zeros((100, 200, 3), np.uint8))
    left_half = np.zeros((28, 28), np.float32)
    left_half[:, :14] = 1.0
    mask = instances_mask(instances_of([[100, 20, 156, 76]], [left_half]), grid)
    assert (mask[24:72, 102:124] == 255).all()
    assert not mask[:, 132:].any()
    assert not mask[:, :100].any()
    assert not mask[:20].any()


def test_a_nearly_empty_mask_redacts_its_box():
    grid = MaskGrid.for_image(np.zeros((100, 200, 3), np.uint8))
    mask = instances_mask(instances_of([[100, 20, 156, 76]], [np.zeros((28, 28))]), grid)
    assert (mask[20:76, 100:156] == 255).all()
    assert mask.sum() == 255 * 56 * 56


def test_no_objects_and_objects_outside_redact_nothing():
    grid = MaskGrid.for_image(np.zeros((100, 200, 3), np.uint8))
    assert not instances_mask(Instances.empty(), grid).any()
    assert not instances_mask(instances_of([[300, 20, 356, 76]], [np.ones((28, 28))]), grid).any()


def test_dilation_reaches_all_around():
    mask = np.zeros((41, 61), np.uint8)
    mask[20, 30] = 255
    wide = dilate(mask, 5.0)
    rows, columns = np.nonzero(wide)
    assert np.hypot(rows - 20, columns - 30).max() <= 6.3
    for row, column in ((20, 35), (20, 25), (25, 30), (15, 30), (23, 34)):
        assert wide[row, column] == 255
    assert not dilate(np.zeros((9, 9), np.uint8), 50.0).any()
    assert (dilate(mask, 0.0) > 0).sum() >= 5


def test_local_changes_are_found_and_a_global_change_of_illumination_is_not():
    grid = MaskGrid.for_image(np.zeros((120, 200, 3), np.uint8))
    random = np.random.default_rng(3)
    before = np.repeat(random.integers(60, 120, (120, 200, 1)), 3, axis=2).astype(np.uint8)
    now = (before + 25).astype(np.uint8)
    now[40:80, 100:130] = 250
    changed = change_mask(downscaled_gray(before, grid), downscaled_gray(now, grid))
    assert (changed[44:76, 104:126] == 255).all()
    assert not changed[:, :90].any()
    noisy = np.clip(before.astype(int) + random.integers(-8, 9, before.shape), 0, 255).astype(np.uint8)
    assert not change_mask(downscaled_gray(before, grid), downscaled_gray(noisy, grid)).any()


def scene_at(brightness, noise, seed, person=False, height=240, width=320):
    """A scene of this mean gray level; `noise` is the camera's, a standard deviation in gray levels.

    The person is rows 72 … 215, columns 128 … 207: texture of the same mean brightness.
    """
    random = np.random.default_rng(1)
    smooth = np.repeat(np.repeat(random.uniform(0.8, 1.2, (height // 40, width // 40)), 40, 0), 40, 1)
    texture = np.repeat(np.repeat(random.uniform(0.3, 1.7, (18, 10)), 8, 0), 8, 1)
    if person:
        smooth[72:216, 128:208] = texture
    pixels = brightness * smooth[..., None] + np.random.default_rng(seed).normal(0, noise, (height, width, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def changes(before, now):
    grid = MaskGrid.for_image(before)
    return change_mask(downscaled_gray(before, grid), downscaled_gray(now, grid))


@pytest.mark.parametrize("brightness", [6, 10, 16, 27, 60, 110])
@pytest.mark.parametrize("noise", [0, 1, 2, 4, 8])
def test_somebody_who_enters_is_a_change_in_any_light(brightness, noise):
    mask = changes(scene_at(brightness, noise, 2), scene_at(brightness, noise, 3, person=True))
    person = dilate(mask, 0.05 * 240)[72:216, 128:208]
    assert (person > 0).mean() > 0.995


@pytest.mark.parametrize(("brightness", "noise"), [(6, 0), (16, 1), (27, 2), (60, 4), (110, 8)])
def test_noise_is_no_change_where_contrast_can_tell(brightness, noise):
    assert not changes(scene_at(brightness, noise, 2), scene_at(brightness, noise, 3)).any()


@pytest.mark.parametrize(("brightness", "noise"), [(1, 0), (6, 2), (16, 4), (27, 8)])
def test_where_noise_is_as_strong_as_contrast_everything_counts_as_changed(brightness, noise):
    assert changes(scene_at(brightness, noise, 2), scene_at(brightness, noise, 3)).all()


def test_a_dark_corner_of_a_bright_scene_has_a_threshold_of_its_own():
    dark = np.ones((240, 320, 1))
    dark[:, 120:] = 0.1
    before, now = ((scene_at(110, 1, seed) * dark).astype(np.uint8) for seed in (2, 3))
    now[100:160, 220:260] += 5  # half as bright again as the 11 gray levels there
    mask = changes(before, now)
    assert (mask[104:156, 224:256] == 255).all()
    assert not mask[:, 150:200].any()


@pytest.mark.parametrize("share", [0.45, 0.6, 0.8, 0.95])
def test_somebody_who_fills_most_of_the_frame_is_no_change_of_illumination(share):
    before, now = scene_at(110, 1, 2), scene_at(110, 1, 3)
    now[:, : round(320 * share)] = 30
    assert (changes(before, now)[:, : round(320 * share)] == 255).all()


def test_a_light_that_is_switched_on_is_no_change_in_a_scene_with_texture():
    before = scene_at(27, 0, 2)
    assert not changes(before, before + np.uint8(20)).any()
