"""Windows: what is drawn at a place must be annotated at that place, whatever was done to the photograph."""

import numpy as np
import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.config import Config
from mrcnn.training.annotated_images import Instance
from mrcnn.training.augment import (
    AugmentSettings,
    Window,
    change_colors,
    degrade,
    flip,
    paste_instance,
    place_window,
)

NO_BOXES = np.zeros((0, 4), np.float32)


def red_picture(height=90, width=140, box=(20, 30, 60, 55)):
    """Gray, with a red rectangle that is the one instance."""
    y1, x1, y2, x2 = box
    picture = np.full((height, width, 3), 100, np.uint8)
    picture[y1:y2, x1:x2] = (255, 0, 0)
    mask = np.full((y2 - y1, x2 - x1), 255, np.uint8)
    return picture, Instance(1, 2, np.array(box), mask)


def covered(window, instance):
    """The instance's mask on the whole window."""
    full = np.zeros(window.image_rgb.shape[:2], bool)
    y1, x1, y2, x2 = instance.box
    full[y1:y2, x1:x2] = instance.mask > 127
    return full


def red(image):
    return (image[..., 0] > 178) & (image[..., 1] < 50)


@pytest.mark.parametrize("seed", range(12))
def test_mask_follows_the_picture_through_scale_crop_and_flip(seed):
    rng = np.random.default_rng(seed)
    picture, instance = red_picture()
    settings = AugmentSettings(window=64, smallest_scale=0.5, largest_scale=2.0)
    window = place_window(picture, (instance,), NO_BOXES, settings, rng)
    if seed % 2:
        window = flip(window)
    assert window.image_rgb.shape == (64, 64, 3)
    if not window.instances:
        assert red(window.image_rgb).sum() < 0.3 * instance.mask.size * 4
        return
    mask = covered(window, window.instances[0])
    shown = red(window.image_rgb)
    assert (mask & shown).sum() / (mask | shown).sum() > 0.85
    assert mask[window.instances[0].box[0] : window.instances[0].box[2]].any(axis=1).all()  # the box fits its mask


def test_unscaled_window_of_the_photographs_size_changes_nothing():
    picture, instance = red_picture(height=64, width=64)
    settings = AugmentSettings(window=64, smallest_scale=1.0, largest_scale=1.0)
    window = place_window(picture, (instance,), boxes_of([1, 2, 3, 9]), settings, np.random.default_rng(0))
    np.testing.assert_array_equal(window.image_rgb, picture)
    np.testing.assert_array_equal(window.instances[0].box, instance.box)
    np.testing.assert_array_equal(window.instances[0].mask, instance.mask)
    np.testing.assert_allclose(window.ignored_boxes, [[1, 2, 3, 9]])


def boxes_of(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_small_photograph_lies_on_black():
    picture, instance = red_picture(height=40, width=30, box=(5, 5, 35, 25))
    settings = AugmentSettings(window=64, smallest_scale=1.0, largest_scale=1.0)
    window = place_window(picture, (instance,), NO_BOXES, settings, np.random.default_rng(3))
    assert (window.image_rgb.sum(axis=-1) == 0).sum() == 64 * 64 - 40 * 30
    assert covered(window, window.instances[0]).sum() == 30 * 20


def test_hardly_visible_objects_are_ignored_not_background():
    picture, instance = red_picture(height=400, width=64, box=(0, 10, 390, 50))
    settings = AugmentSettings(window=64, smallest_scale=1.0, largest_scale=1.0, focus=0.0)
    window = place_window(picture, (instance,), NO_BOXES, settings, np.random.default_rng(0))
    assert not window.instances
    assert len(window.ignored_boxes) == 1
    assert window.ignored_boxes[0, 1:4:2].tolist() == [10, 50]


def test_pasted_object_hides_what_lies_behind():
    behind = Instance(1, 1, np.array([0, 0, 40, 40]), np.full((40, 40), 255, np.uint8))
    window = Window(np.zeros((40, 40, 3), np.uint8), (behind,), NO_BOXES)
    picture, instance = red_picture(box=(20, 30, 44, 50))
    settings = AugmentSettings(window=40, smallest_scale=1.0, largest_scale=1.0)
    found = paste_instance(window, picture, instance, settings, np.random.default_rng(5))
    assert len(found.instances) == 2
    back, front = (covered(found, one) for one in found.instances)
    assert front.sum() == 24 * 20
    assert back.sum() == 40 * 40 - 24 * 20
    assert not (back & front).any()
    assert red(found.image_rgb[front]).mean() > 0.8
    assert not window.image_rgb.any()  # the given window is not changed


def test_object_that_is_hidden_whole_is_gone_and_mostly_hidden_is_ignored():
    tiny = Instance(1, 1, np.array([18, 18, 22, 22]), np.full((4, 4), 255, np.uint8))
    wide = Instance(1, 1, np.array([10, 0, 30, 40]), np.full((20, 40), 255, np.uint8))
    window = Window(np.zeros((40, 40, 3), np.uint8), (tiny, wide), NO_BOXES)
    picture, instance = red_picture(box=(20, 30, 56, 66))
    settings = AugmentSettings(window=40, smallest_scale=1.0, largest_scale=1.0)
    found = paste_instance(window, picture, instance, settings, np.random.default_rng(0))
    assert len(found.instances) == 1
    assert len(found.ignored_boxes) == 1


def test_flip_twice_is_the_same():
    picture, instance = red_picture(height=64, width=64)
    window = Window(picture, (Instance(1, 2, instance.box, instance.mask),), boxes_of([1, 2, 3, 9]))
    once, twice = flip(window), flip(flip(window))
    assert once.instances[0].box.tolist() == [20, 64 - 55, 60, 64 - 30]
    assert once.ignored_boxes.tolist() == [[1, 55, 3, 62]]
    np.testing.assert_array_equal(twice.image_rgb, picture)
    assert twice.instances[0].box.tolist() == instance.box.tolist()


def test_colors_change_but_not_for_strength_zero():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert change_colors(picture, 0.0, np.random.default_rng(1)) is picture
    changed = change_colors(picture, 1.0, np.random.default_rng(1))
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8
    assert (changed != picture).any()


def test_dark_pixels_stay_dark_when_the_picture_gets_darker():
    picture = np.full((4, 4, 3), 10, np.uint8)
    for seed in range(30):
        assert change_colors(picture, 1.0, np.random.default_rng(seed)).max() <= 10 + 38 + 36


def test_scales_count_from_the_longer_side_that_the_network_will_see():
    settings = AugmentSettings(smallest_scale=0.5, largest_scale=2.0, longer_side=512)
    assert settings.scales_for(1024, 256) == (0.25, 1.0)
    assert settings.scales_for(100, 128) == (2.0, 8.0)
    assert AugmentSettings(smallest_scale=0.5, largest_scale=2.0).scales_for(1024, 256) == (0.5, 2.0)
    picture, instance = red_picture(180, 280, (40, 60, 120, 110))  # 80 x 50 pixels
    settings = AugmentSettings(window=192, smallest_scale=1.0, largest_scale=1.0, longer_side=140)
    window = place_window(picture, (instance,), NO_BOXES, settings, np.random.default_rng(1))
    (placed,) = window.instances
    assert placed.mask.shape == (40, 25)


def test_a_limit_of_the_shorter_side_holds_for_pictures_that_are_less_wide():
    settings = AugmentSettings(smallest_scale=0.5, largest_scale=2.0, longer_side=1333, shorter_side=800)
    assert settings.scales_for(480, 640) == pytest.approx((800 / 480 / 2, 800 / 480 * 2))
    assert settings.scales_for(1000, 500) == pytest.approx((1333 / 1000 / 2, 1333 / 1000 * 2))


@pytest.mark.parametrize(
    ("architecture", "sides", "padding"),
    [
        ("matterport", (1024, 0), (0, 0, 0)),
        ("torchvision", (1333, 800), (124, 116, 104)),  # the mean, which the network sees as 0
        ("torchvision_v2", (1333, 800), (124, 116, 104)),
        ("detectron2", (1333, 800), (124, 116, 104)),
    ],
)
def test_windows_show_pictures_as_their_network_sees_them(architecture, sides, padding):
    config = type("Published", (Config,), {"ARCHITECTURE": architecture, **ARCHITECTURES[architecture].settings})()
    settings = AugmentSettings.for_network(config, window=64, smallest_scale=0.01, largest_scale=0.01)
    assert (settings.longer_side, settings.shorter_side) == sides
    assert settings.padding_rgb == padding
    picture, instance = red_picture()
    window = place_window(picture, (instance,), NO_BOXES, settings, np.random.default_rng(1))
    assert {tuple(window.image_rgb[row, column]) for row in (0, 63) for column in (0, 63)} == {padding}


def test_one_mean_for_all_channels_is_a_gray_padding():
    config = type("Gray", (Config,), {"ARCHITECTURE": "torchvision", "MEAN_PIXEL": np.array([99.6])})()
    assert AugmentSettings.for_network(config).padding_rgb == (100, 100, 100)


def test_nothing_is_degraded_without_probability():
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(degrade(picture, 0.0, np.random.default_rng(1)), picture)


def test_degraded_pictures_lose_detail_and_keep_their_mean():
    picture = np.zeros((64, 48, 3), np.uint8)
    picture[:, ::2] = 200
    for seed in range(5):
        found = degrade(picture, 1.0, np.random.default_rng(seed))
        assert found.shape == picture.shape
        assert found.dtype == np.uint8
        assert found.mean() == pytest.approx(100, abs=4)
        assert found.std() < 0.95 * picture.std()


def test_each_kind_of_degradation_comes_at_its_share():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    rng = np.random.default_rng(1)
    same = sum(np.array_equal(degrade(picture, 0.5, rng), picture) for _ in range(800))
    assert 63 <= same <= 137  # none of three: an eighth, 100; four standard deviations are 37
