"""Batches: shapes, repeatability, and the thread that makes them ahead."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from mrcnn.config import Config
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.augment import AugmentSettings, Window
from mrcnn.training.data import (
    BatchMaker,
    ImageCache,
    UnreadableImageError,
    WindowMaker,
    batches_ahead,
    class_map,
    mini_mask,
    read_image,
)
from tests.mrcnn.tiny import tiny_config


def test_an_image_is_read_once_and_the_oldest_goes_first(tiny_data):
    first, second = tiny_data.images
    cache = ImageCache(memory_bytes=100 * 150 * 3)  # room for the first alone
    held = cache.get(first)
    assert held.shape == (100, 150, 3)
    assert cache.get(first) is held
    cache.get(second)
    assert cache.get(first) is not held
    np.testing.assert_array_equal(cache.get(first), held)


def test_an_image_that_went_bad_is_told_once_and_left_out(tiny_data, tiny_augment, caplog):
    cache = ImageCache()
    maker = WindowMaker(tiny_data, tiny_augment, 3, cache)
    whole = [maker.make(number) for number in range(12)]
    bad = tiny_data.images[1].path
    bad.write_bytes(bad.read_bytes()[:40])

    cache = ImageCache()
    maker = WindowMaker(tiny_data, tiny_augment, 3, cache)
    windows = [maker.make(number) for number in range(12)]
    assert list(cache.unreadable) == [str(bad)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{bad} cannot be read as an image: it is left out from here on (1 so far)"
    ]
    same = [np.array_equal(mine.image_rgb, theirs.image_rgb) for mine, theirs in zip(windows, whole, strict=True)]
    assert any(same)  # those that did not need it
    assert not all(same)


def test_when_none_can_be_read_it_is_an_error(tiny_data, tiny_augment):
    for image in tiny_data.images:
        image.path.unlink()
    with pytest.raises(UnreadableImageError, match="of 2 images, 2 can no longer be read"):
        WindowMaker(tiny_data, tiny_augment, 3).make(0)


def test_an_image_of_another_size_than_annotated_is_an_error(tiny_data):
    cv2.imwrite(str(tiny_data.images[0].path), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(ValueError, match="60 x 50 pixels, the annotations say 150 x 100"):
        read_image(tiny_data.images[0])


def test_a_picture_with_a_rotation_tag_is_read_as_it_is_displayed(tiny_data, tmp_path):
    gray = np.arange(100 * 150, dtype=np.uint32).reshape(100, 150) // 60
    picture = Image.fromarray(gray.astype(np.uint8))
    exif = picture.getexif()
    exif[274] = 3  # upside down
    picture.save(tmp_path / "0.png", exif=exif)
    assert (read_image(tiny_data.images[0])[..., 0] == gray[::-1, ::-1]).all()


AUGMENT = AugmentSettings(window=128, smallest_scale=0.8, largest_scale=1.2)


class SmallAnchors(Config):
    NUM_CLASSES = 2
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    POST_NMS_ROIS_TRAINING = 10


@pytest.fixture
def data(tmp_path):
    images = []
    for index, (height, width) in enumerate(((100, 150), (140, 90))):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.random.default_rng(index).integers(0, 256, (height, width, 3)).astype(np.uint8))
        box = np.array([20, 30, 80, 60])
        instance = Instance(1 - index, 1 + index, box, np.full((60, 30), 255, np.uint8))
        images.append(AnnotatedImage(index, path, height, width, (instance,), np.zeros((0, 4), np.float32)))
    return AnnotatedImages(("BG", "person"), ("person", "cup"), tuple(images))


@pytest.fixture
def batches(data):
    maker = WindowMaker(data, AUGMENT, seed=3)
    return BatchMaker(maker, SmallAnchors(), 2, 3)


def test_batch_has_the_shapes_that_the_model_expects(batches):
    batch = batches.make(0)
    anchors = 3 * (32 * 32 + 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2)
    slots = batch["gt_boxes"].shape[1]
    shapes = {name: array.shape for name, array in batch.items()}
    assert shapes == {
        "images": (2, 128, 128, 3),
        "is_complete": (2,),
        "rpn_match": (2, anchors),
        "rpn_deltas": (2, anchors, 4),
        "gt_boxes": (2, slots, 4),
        "gt_class_ids": (2, slots),
        "gt_categories": (2, slots),
        "gt_used": (2, slots),
        "mini_masks": (2, slots, 56, 56),
        "class_map": (2, 32, 32),
        "ignored_boxes": (2, shapes["ignored_boxes"][1], 4),
        "noise": (2, 10 + slots),
    }
    used = batch["gt_used"].astype(bool)
    assert used.any()
    assert not batch["gt_boxes"][~used].any()
    assert (batch["gt_boxes"][used][:, 2:] > batch["gt_boxes"][used][:, :2]).all()
    assert (batch["gt_categories"][used] > 0).all()


def test_class_map_has_the_class_in_front_and_nothing_where_objects_are_ignored():
    def instance(class_id, y1, x1, y2, x2):
        return Instance(class_id, 1, np.array([y1, x1, y2, x2]), np.full((y2 - y1, x2 - x1), 255, np.uint8))

    corner = instance(2, 0, 0, 16, 16)
    corner.mask[:8] = 0
    objects = (corner, instance(0, 32, 0, 48, 16), instance(1, 32, 8, 64, 16))
    window = Window(np.zeros((64, 128, 3), np.uint8), objects, np.array([[0, 64, 64, 128], [32, 0, 40, 8]], np.float32))
    found = class_map(window)
    expected = np.zeros((16, 32), np.int32)
    expected[:, 16:] = -1
    expected[2:4, :4] = 2
    expected[8:12, :4] = 0
    expected[8:, 2:4] = 1
    np.testing.assert_array_equal(found, expected)


def test_what_is_not_annotated_is_no_background_for_the_proposals(data):
    batches = [
        BatchMaker(WindowMaker(replace(data, images=images), AUGMENT, 3), SmallAnchors(), 2, 3).make(0)
        for images in (data.images, tuple(replace(image, is_complete=False) for image in data.images))
    ]
    complete, incomplete = batches
    assert complete["is_complete"].tolist() == [1, 1]
    assert incomplete["is_complete"].tolist() == [0, 0]
    assert (complete["rpn_match"] == -1).any()
    assert (complete["rpn_match"] == 1).any()
    np.testing.assert_array_equal(incomplete["rpn_match"], np.where(complete["rpn_match"] == 1, 1, 0))
    for name in complete.keys() - {"is_complete", "rpn_match"}:
        np.testing.assert_array_equal(incomplete[name], complete[name])


def test_objects_beyond_the_slots_are_no_background(tiny_data):
    boxes = [np.array([y, x, y + 10, x + 10]) for y in range(0, 96, 12) for x in range(0, 96, 12)]
    crowded = tuple(Instance(1, 1, box, np.full((10, 10), 255, np.uint8)) for box in boxes)
    only = replace(tiny_data.images[0], height=96, width=96, instances=crowded)
    cv2.imwrite(str(only.path), np.zeros((96, 96, 3), np.uint8))
    windows = WindowMaker(
        replace(tiny_data, images=(only,)), AugmentSettings(128, 1.0, 1.0, flip=0.0, color=0.0, pastes=0), 3
    )
    batch = BatchMaker(windows, SmallAnchors(), 1, 3).make(0)
    assert len(windows.make(0).instances) == 64
    used, ignored = batch["gt_used"][0] > 0, batch["ignored_boxes"][0].any(axis=1)
    assert (used.sum(), ignored.sum()) == (48, 16)
    found = np.concatenate([batch["gt_boxes"][0][used], batch["ignored_boxes"][0][ignored]])
    assert len(np.unique(found, axis=0)) == 64


def test_windows_are_degraded_last_and_only_where_asked(data):
    plain, degraded = (WindowMaker(data, replace(AUGMENT, degrade=share), 3) for share in (0.0, 1.0))
    for number in range(3):
        before, after = plain.make(number), degraded.make(number)
        assert (before.image_rgb != after.image_rgb).any()
        assert [one.box.tolist() for one in before.instances] == [one.box.tolist() for one in after.instances]


@pytest.mark.parametrize(
    ("architecture", "gt_box", "log_height"),
    [
        # the last pixel is 1 and counts; deltas in units of 0.2
        ("matterport", np.array([4, 0, 59, 63]) / 127, np.log(55 / 63) / 0.2),
        ("torchvision", np.array([4, 0, 60, 64]) / 128, np.log(56 / 64)),
        ("torchvision_v2", np.array([4, 0, 60, 64]) / 128, np.log(56 / 64)),
        ("detectron2", np.array([4, 0, 60, 64]) / 128, np.log(56 / 64)),
    ],
)
def test_targets_are_in_the_coordinates_and_deltas_of_the_architecture(architecture, gt_box, log_height):
    class OneWindow:
        augment = AUGMENT

        def make(self, number):
            placed = Instance(1, 1, np.array([4, 0, 60, 64]), np.full((56, 64), 255, np.uint8))
            crowd = np.array([[64, 32, 128, 96]], np.float32)
            return Window(np.zeros((128, 128, 3), np.uint8), (placed,), crowd)

    batch = BatchMaker(OneWindow(), tiny_config(architecture), 1, 3).make(0)
    np.testing.assert_allclose(batch["gt_boxes"][0, 0], gt_box, rtol=1e-6)
    crowd = np.array([64, 32, 127, 95]) / 127 if architecture == "matterport" else np.array([64, 32, 128, 96]) / 128
    np.testing.assert_allclose(batch["ignored_boxes"][0, 0], crowd, rtol=1e-6)
    # of P5 the square of 64 pixels around (32, 32): row 1 and column 1 of four, the second of three ratios
    anchor = 3 * (32 * 32 + 16 * 16 + 8 * 8) + 3 * (1 * 4 + 1) + 1
    assert batch["rpn_match"][0, anchor] == 1
    np.testing.assert_allclose(batch["rpn_deltas"][0, anchor], [0, 0, log_height, 0], atol=1e-5)


def test_a_step_gives_the_same_batch_whatever_came_before(data, batches):
    again = BatchMaker(WindowMaker(data, AUGMENT, 3), SmallAnchors(), 2, 3)
    batches.make(0)
    first, second = batches.make(5), again.make(5)
    assert all((first[name] == second[name]).all() for name in first)
    assert (batches.make(6)["images"] != first["images"]).any()


def test_thread_hands_out_batches_in_order_from_any_step(batches):
    with batches_ahead(batches.make, first_step=4) as found:
        for step in (4, 5):
            np.testing.assert_array_equal(next(found)["images"], batches.make(step)["images"])


def test_thread_raises_what_went_wrong(data, tmp_path):
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").unlink()
    maker = BatchMaker(WindowMaker(data, AUGMENT, 3), SmallAnchors(), 2, 3)
    with (
        batches_ahead(maker.make, 0) as found,
        pytest.raises(ValueError, match="of 2 images, 2 can no longer be read"),
    ):
        next(found)


@pytest.mark.parametrize("shape", [(7, 13), (200, 90)])
def test_mini_mask_stretches(shape):
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 255
    found = mini_mask(mask)
    assert found.shape == (56, 56)
    assert found.mean() == pytest.approx((shape[0] // 2) / shape[0], abs=0.02)
    assert found[0, 0] == 1
    assert found[-1, -1] == 0


def test_mini_mask_of_another_shape():
    mask = np.zeros((30, 90), np.uint8)
    mask[:, 60:] = 255
    found = mini_mask(mask, (5, 9))
    assert found.shape == (5, 9)
    np.testing.assert_allclose(found, [[0] * 6 + [1] * 3] * 5, atol=1e-6)
