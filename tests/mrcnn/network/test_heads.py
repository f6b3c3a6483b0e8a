"""The two heads on tiny regions, with weights that let a number be followed by hand."""

import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.network import heads
from mrcnn.network.heads import build_box_head, build_mask_head

pytestmark = pytest.mark.usefixtures("zero_start")

NORM = np.sqrt(1 + 1e-3)
"""A fresh batch normalization divides by it."""


class TinyConfig(Config):
    NUM_CLASSES = 3
    POOL_SIZE = 2
    MASK_POOL_SIZE = 3
    FPN_CLASSIF_FC_LAYERS_SIZE = 4
    MASK_HEAD_CHANNELS = 1
    TRAIN_BN = False


def answer(model, regions):
    found = model(np.asarray(regions, np.float32))
    return [ops.convert_to_numpy(one) for one in found] if isinstance(found, list) else ops.convert_to_numpy(found)


@pytest.fixture(scope="module")
def box_head():
    """First layer: each unit is one of the four cells. Second: units in reverse order. Answers: counted weights."""
    model = build_box_head(1, TinyConfig())
    model.get_layer("mrcnn_class_conv1").set_weights([np.eye(4).reshape(2, 2, 1, 4), np.zeros(4)])
    model.get_layer("mrcnn_class_conv2").set_weights([np.eye(4)[::-1].reshape(1, 1, 4, 4), np.zeros(4)])
    model.get_layer("mrcnn_class_logits").set_weights([np.arange(12.0).reshape(4, 3), np.array([0.0, 0.0, 7.0])])
    model.get_layer("mrcnn_bbox_fc").set_weights([np.arange(48.0).reshape(4, 12), np.zeros(12)])
    return model


def test_box_head_by_hand(box_head):
    regions = np.array([[[1, 2], [3, 4]], [[-1, 0], [0, 5]]], np.float32)[..., None]
    logits, deltas = answer(box_head, regions)
    for region, found_logits, found_deltas in zip(regions, logits, deltas, strict=True):
        units = np.maximum(region.ravel(), 0)[::-1] / NORM**2
        expected = [sum(units[i] * (3 * i + k) for i in range(4)) + (7 if k == 2 else 0) for k in range(3)]
        np.testing.assert_allclose(found_logits, expected, rtol=1e-5)
        by_class = [[sum(units[i] * (12 * i + 4 * k + d) for i in range(4)) for d in range(4)] for k in range(3)]
        np.testing.assert_allclose(found_deltas, by_class, rtol=1e-5)
    assert (logits.shape, deltas.shape, logits.dtype) == ((2, 3), (2, 3, 4), np.float32)


@pytest.fixture(scope="module")
def mask_head():
    model = build_mask_head(1, TinyConfig())
    middle = np.zeros((3, 3, 1, 1))
    middle[1, 1] = 1
    for index in range(1, 5):
        model.get_layer(f"mrcnn_mask_conv{index}").set_weights([middle, np.zeros(1)])
    quarters = np.array([[1.0, 2.0], [3.0, -4.0]]).reshape(2, 2, 1, 1)
    model.get_layer("mrcnn_mask_deconv").set_weights([quarters, np.zeros(1)])
    model.get_layer("mrcnn_mask").set_weights([np.array([1.0, 10.0, -1.0]).reshape(1, 1, 1, 3), np.zeros(3)])
    return model


def test_mask_head_by_hand(mask_head):
    region = np.array([[1, 2, 3], [4, -5, 6], [7, 8, 9]], np.float32)
    found = answer(mask_head, region[None, :, :, None])
    assert (found.shape, found.dtype) == ((1, 6, 6, 3), np.float32)
    # every cell becomes a square of 2 x 2, by the transposed convolution, then a rectifier
    doubled = np.kron(np.maximum(region, 0), [[1, 2], [3, 0]]) / NORM**4
    for k, factor in enumerate((1, 10, -1)):
        np.testing.assert_allclose(found[0, :, :, k], factor * doubled, rtol=1e-5)


def test_mask_convolutions_keep_the_size_with_zeros_around(mask_head):
    """With the tap that looks one column to the left, four layers move a value four columns to the right."""
    left = np.zeros((3, 3, 1, 1))
    left[1, 0] = 1
    config = TinyConfig()
    config.MASK_POOL_SIZE = 6
    model = build_mask_head(1, config)
    model.set_weights(mask_head.get_weights())
    for index in range(1, 5):
        model.get_layer(f"mrcnn_mask_conv{index}").set_weights([left, np.zeros(1)])
    region = np.zeros((1, 6, 6, 1), np.float32)
    region[0, 2, 1], region[0, 4, 3] = NORM**4, 1000  # the second one leaves the region
    expected = np.zeros((12, 12))
    expected[4:6, 10:12] = [[1, 2], [3, 0]]
    np.testing.assert_allclose(answer(model, region)[0, :, :, 0], expected, atol=1e-5)


def test_the_width_of_the_mask_head_is_matterports_unless_the_config_says_another(monkeypatch):
    assert heads.MASK_HEAD_CHANNELS == 256
    monkeypatch.setattr(heads, "MASK_HEAD_CHANNELS", 3)
    monkeypatch.delattr(TinyConfig, "MASK_HEAD_CHANNELS")
    model = build_mask_head(5, TinyConfig())
    assert model.get_layer("mrcnn_mask_conv1").kernel.shape == (3, 3, 5, 3)
    assert model.get_layer("mrcnn_mask_deconv").kernel.shape == (2, 2, 3, 3)
