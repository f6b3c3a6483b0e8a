"""The assembled network: shapes of every stage, names of its layers, and what a Config changes."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from tests.mrcnn.conftest import SmallConfig
from tests.mrcnn.tiny import TinyConfig, tiny_image, tiny_network

WINDOW = np.array([[0, 0, 1, 1]], np.float32)


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def test_features_of_a_wide_canvas(network):
    pyramid, class_logits, deltas = network.extract(ops.convert_to_tensor(tiny_image(64, 192)[None]), WINDOW)
    assert [tuple(level.shape) for level in pyramid] == [(1, 16 // 2**i, 48 // 2**i, 8) for i in range(5)]
    anchors = network.anchors(64, 192)
    assert len(anchors) == 3 * (16 * 48 + 8 * 24 + 4 * 12 + 2 * 6 + 1 * 3)
    assert tuple(class_logits.shape) == (1, len(anchors), 2)
    assert tuple(deltas.shape) == (1, len(anchors), 4)


def test_the_rpn_answers_in_the_order_of_the_anchors(network):
    """A lone bright cell of P2 changes the answers of the anchors around it, and of the levels' other anchors none."""
    rpn = network.features.get_layer("rpn_model")
    level = np.zeros((1, 5, 7, 8), np.float32)
    before = ops.convert_to_numpy(rpn(level)[1])[0]
    level[0, 3, 4] = 1
    changed = np.flatnonzero(np.abs(ops.convert_to_numpy(rpn(level)[1])[0] - before).max(-1) > 1e-6)
    cells = {(row, column) for row in (2, 3, 4) for column in (3, 4, 5)}
    assert set(changed // 3) <= {row * 7 + column for row, column in cells}
    assert {3 * 7 + 4} <= set(changed // 3)


def test_heads_and_masks(network):
    canvas = ops.convert_to_tensor(tiny_image(64, 128)[None])
    pyramid, *_ = network.extract(canvas, WINDOW)
    rois = ops.convert_to_tensor(np.array([[[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]]], np.float32))
    class_logits, deltas = network.classify(pyramid, rois, (64, 128))
    assert tuple(class_logits.shape) == (1, 2, 3)
    assert tuple(deltas.shape) == (1, 2, 3, 4)
    one, two = (
        ops.convert_to_numpy(
            network.predict_masks(pyramid, rois, ops.convert_to_tensor(np.array([ids], np.int32)), (64, 128))
        )
        for ids in ([1, 2], [2, 2])
    )
    assert one.shape == (1, 2, 28, 28)
    assert np.abs(one[0, 0] - two[0, 0]).max() > 1e-4  # another class, another mask
    np.testing.assert_allclose(one[0, 1], two[0, 1], atol=1e-6)


def test_layers_by_name_are_those_of_the_files(coco_model, oracle_layout):
    shapes = {weight.split("/")[0]: {} for _, weights in oracle_layout for weight, _ in weights}
    for _, weights in oracle_layout:
        for weight, shape in weights:
            shapes[weight.split("/")[0]][weight.split("/")[1].split(":")[0]] = tuple(shape)
    ours = {
        name: {variable.name: tuple(variable.shape) for variable in layer.weights}
        for name, layer in coco_model.network.layers_by_name().items()
    }
    assert ours == shapes


def test_a_config_changes_the_widths():
    network = MaskRCNNNetwork(SmallConfig())
    layers = network.layers_by_name()
    assert layers["fpn_p2"].kernel.shape == (3, 3, 64, 64)
    assert layers["mrcnn_class_conv1"].kernel.shape == (7, 7, 64, 128)
    assert layers["mrcnn_class_logits"].kernel.shape == (128, 2)
    assert layers["mrcnn_mask"].kernel.shape == (1, 1, 256, 2)
    assert "res4f_branch2a" in layers
    assert "res4g_branch2a" not in layers


@pytest.mark.parametrize(("train_bn", "changes"), [(False, False), (None, True)])
def test_train_bn_decides_about_batch_statistics(train_bn, changes):
    class Norm(TinyConfig):
        TRAIN_BN = train_bn

    network = tiny_network(Norm())
    mean = network.layers_by_name()["tiny2_bn"].moving_mean
    before = ops.convert_to_numpy(mean).copy()
    network.features(np.ones((1, 64, 64, 3), np.float32), training=True)
    assert (np.abs(ops.convert_to_numpy(mean) - before).max() > 0) == changes


def test_unknown_backbone_and_a_callable_that_returns_too_little():
    class Unknown(TinyConfig):
        BACKBONE = "vgg"

    class Short(TinyConfig):
        BACKBONE = staticmethod(lambda image, stage5, train_bn: [image])

    with pytest.raises(ValueError, match=r"resnet101.*got 'vgg'"):
        MaskRCNNNetwork(Unknown())
    with pytest.raises(ValueError, match="must return the stages"):
        MaskRCNNNetwork(Short())


def test_logits_are_float32_under_a_mixed_policy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = MaskRCNNNetwork(TinyConfig())
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = [*network.features.outputs[5:], *network.box_head.outputs, *network.mask_head.outputs]
    assert {keras.backend.standardize_dtype(output.dtype) for output in outputs} == {"float32"}
    assert keras.backend.standardize_dtype(network.features.outputs[0].dtype) == "float16"
