"""Batches of a data set: shapes, which objects count, order, and the settings that change them."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.matterport.dataset import load_image_gt
from mrcnn.matterport.dataset_batches import DatasetBatches
from tests.mrcnn.training.shapes import Shapes, draw

ANCHORS = 3 * (32 * 32 + 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2)


class BatchConfig(Config):
    GPU_COUNT, IMAGES_PER_GPU = 1, 2
    NUM_CLASSES = 3
    IMAGE_MIN_DIM, IMAGE_MAX_DIM = 64, 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 20
    POST_NMS_ROIS_TRAINING = 30
    MAX_GT_INSTANCES = 5
    MINI_MASK_SHAPE = (12, 20)


class Marked(Shapes):
    """`special` maps an image to its masks and class ids."""

    special: dict = {}  # noqa: RUF012  set by the tests

    def load_mask(self, image_id):
        return self.special.get(image_id, draw(image_id)[1:])


@pytest.fixture
def config():
    return BatchConfig()


def test_shapes(config):
    batch = DatasetBatches(Shapes().fill(), config).make(0)
    assert {name: array.shape for name, array in batch.items()} == {
        "images": (2, 128, 128, 3),
        "rpn_match": (2, ANCHORS),
        "rpn_deltas": (2, ANCHORS, 4),
        "gt_boxes": (2, 5, 4),
        "gt_class_ids": (2, 5),
        "gt_used": (2, 5),
        "ignored_boxes": (2, 128, 4),
        "active_class_ids": (2, 3),
        "noise": (2, 35),
        "mini_masks": (2, 5, 12, 20),
    }
    assert batch["images"].dtype == np.uint8
    assert ((batch["rpn_match"] != 0).sum(axis=1) == 20).all()


def test_boxes_and_masks_are_those_of_load_image_gt(config):
    batch = DatasetBatches(Shapes().fill(), config, shuffle=False).make(0)
    for row in (0, 1):
        image, _, class_ids, boxes, masks = load_image_gt(Shapes().fill(), config, row)
        np.testing.assert_array_equal(batch["images"][row], image)
        count = len(class_ids)
        assert batch["gt_used"][row].tolist() == [1] * count + [0] * (5 - count)
        assert batch["gt_class_ids"][row, :count].tolist() == class_ids.tolist()
        np.testing.assert_allclose(batch["gt_boxes"][row, :count] * 127 + [0, 0, 1, 1], boxes, atol=1e-4)
        assert not batch["gt_boxes"][row, count:].any()
        y1, x1, y2, x2 = boxes[0]
        assert batch["mini_masks"][row, 0].mean() == pytest.approx(masks[y1:y2, x1:x2, 0].mean(), abs=0.03)


def test_every_image_once_a_round_in_changing_order(config):
    config.BATCH_SIZE = 7
    batches = DatasetBatches(Shapes().fill(7), config, seed=3)
    brightness = [sorted(batches.make()["images"].mean(axis=(1, 2, 3)).tolist()) for _ in range(2)]
    assert brightness[0] == brightness[1]
    rounds = [DatasetBatches(Shapes().fill(7), config, seed=seed).make()["images"] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(rounds[0], rounds[1])
    assert (rounds[0] != rounds[2]).any()


def test_images_without_objects_are_passed_over(config):
    dataset = Marked().fill(3)
    dataset.special = {1: (np.zeros((0, 0, 0)), np.zeros(0, np.int32))}
    batches = DatasetBatches(dataset, config, shuffle=False)
    for _ in range(3):
        np.testing.assert_array_equal(batches.make()["gt_used"].sum(axis=1), [1, 3])


def test_a_data_set_without_any_object_is_an_error(config):
    dataset = Marked().fill(2)
    height, width = draw(0)[0].shape[:2]
    one_row = np.zeros((height, width, 1), bool)
    one_row[4, 3:40] = True
    dataset.special = {0: (one_row, np.array([1])), 1: (np.zeros((0, 0, 0)), np.zeros(0, np.int32))}
    with pytest.raises(ValueError, match="none of the data set's 2 images has an object for training"):
        DatasetBatches(dataset, config).make()


def test_crowds_and_classes_of_other_sources_are_neither_object_nor_background(config):
    config.NUM_CLASSES = 4
    dataset = Marked().fill(1)
    dataset.add_class("other", 1, "star")
    dataset.prepare()
    masks = draw(2)[1][:96]
    dataset.special = {0: (masks, np.array([1, -2, 3]))}  # class 3 is of the other source
    config.BATCH_SIZE = 1
    batch = DatasetBatches(dataset, config).make()
    assert batch["gt_class_ids"][0].tolist() == [1, 0, 0, 0, 0]
    assert batch["active_class_ids"][0].tolist() == [1, 1, 1, 0]
    assert batch["ignored_boxes"][0].any(axis=1).sum() == 2
    crowd = np.argwhere(masks[:, :, 1])
    y1, x1 = crowd.min(axis=0)
    y2, x2 = crowd.max(axis=0)
    # 16 rows of padding above; normalized boxes end on their last pixel
    np.testing.assert_allclose(batch["ignored_boxes"][0, 0] * 127, [y1 + 16, x1, y2 + 16, x2], atol=1e-3)


def test_more_objects_than_slots(config):
    config.MAX_GT_INSTANCES = 2
    config.BATCH_SIZE = 3
    batch = DatasetBatches(Shapes().fill(), config, shuffle=False).make()
    assert batch["gt_used"].sum(axis=1).tolist() == [1, 2, 2]
    # the third picture's third object is no background
    assert sorted(batch["ignored_boxes"].any(axis=2).sum(axis=1).tolist()) == [0, 0, 1]


def test_full_masks_and_random_regions_when_asked(config):
    config.USE_MINI_MASK = config.USE_RPN_ROIS = False
    batch = DatasetBatches(Shapes().fill(), config, shuffle=False).make()
    assert "mini_masks" not in batch
    assert (batch["full_masks"].shape, batch["full_masks"].dtype) == ((2, 5, 128, 128), np.uint8)
    np.testing.assert_array_equal(batch["full_masks"][1, 1], load_image_gt(Shapes().fill(), config, 1)[4][:, :, 1])
    assert batch["rois"].shape == (2, 30, 4)


def test_augmentation_spares_the_named_sources(config):
    def black(image, masks):
        return np.zeros_like(image), masks

    assert not DatasetBatches(Shapes().fill(), config, black).make()["images"].any()
    assert DatasetBatches(Shapes().fill(), config, black, ["shapes"]).make()["images"].any()


def test_images_of_floats_lose_the_mean_here(config):
    class Floats(Shapes):
        def load_image(self, image_id):
            return draw(image_id)[0].astype(np.float32)

    images = DatasetBatches(Floats().fill(), config, shuffle=False).make()["images"]
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[0, 0, 0], -config.MEAN_PIXEL, rtol=1e-5)


def test_canvases_of_several_sizes(config):
    config.IMAGE_RESIZE_MODE, config.IMAGE_MIN_DIM = "pad64", None
    batches = DatasetBatches(Wide().fill(2), config, shuffle=False)
    with pytest.raises(ValueError, match=r"image 1 .*the same size, this one has 128 x 128, others have 128 x 192"):
        batches.make()
    config.IMAGE_RESIZE_MODE = "none"
    with pytest.raises(ValueError, match="multiples of 32, got 80 x 128"):
        DatasetBatches(Low().fill(1), config).make()


class Low(Shapes):
    """Images of 80 x 128."""

    def load_image(self, image_id):
        return draw(image_id)[0][:80]

    def load_mask(self, image_id):
        masks, class_ids = draw(image_id)[1:]
        return masks[:80], class_ids


class Wide(Shapes):
    """The first image is 96 x 150."""

    def load_image(self, image_id):
        image = draw(image_id)[0]
        return np.pad(image, ((0, 0), (0, 22), (0, 0))) if image_id == 0 else image

    def load_mask(self, image_id):
        masks, class_ids = draw(image_id)[1:]
        return (np.pad(masks, ((0, 0), (0, 22), (0, 0))) if image_id == 0 else masks), class_ids
