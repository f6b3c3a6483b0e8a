"""ResNet: names and shapes of mask_rcnn_coco.h5, sizes of the stages, and where a block's stride sits."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.network import resnet
from mrcnn.network.resnet import ResNetParts, build_resnet
from mrcnn.weights.layout import block_letter

pytestmark = pytest.mark.usefixtures("zero_start")

NORM = np.sqrt(1 + 1e-3)
"""A fresh batch normalization divides by it."""


@pytest.fixture(scope="module")
def shallow():
    """One block a stage, two in stage 3; `test_network.py` compares all layers of ResNet-101 with the COCO file's."""
    image = keras.Input((128, 192, 3))
    return keras.Model(image, build_resnet(image, (1, 2, 1, 1), Config))


def test_layers_are_those_of_the_coco_file(shallow, oracle_layout):
    wanted = re.compile(r"conv1|bn_conv1|(res|bn)(2a|3a|3b|4a|5a)_branch.*")
    expected = {
        layer: [tuple(shape) for _, shape in weights] for layer, weights in oracle_layout if wanted.fullmatch(layer)
    }
    assert {
        layer.name: [tuple(w.shape) for w in layer.weights] for layer in shallow.layers if layer.weights
    } == expected
    assert len(expected) == 2 * (1 + 5 * 3 + 4)


def test_stages_halve_and_widen(shallow):
    shapes = [tuple(stage.shape[1:]) for stage in shallow.outputs]
    assert shapes == [(32, 48, 256), (16, 24, 512), (8, 12, 1024), (4, 6, 2048)]


def test_all_stages_are_as_wide_as_the_stem():
    config = type("Narrow", (Config,), {"STEM_CHANNELS": 3})()
    stages = build_resnet(keras.Input((64, 64, 3)), (1, 1, 1, 1), config)
    assert [tuple(stage.shape[1:]) for stage in stages] == [(16, 16, 12), (8, 8, 24), (4, 4, 48), (2, 2, 96)]


def test_depths_are_those_of_the_paper_and_of_the_coco_file(monkeypatch, oracle_layout):
    monkeypatch.setattr(resnet, "build_resnet", lambda image, blocks, config: blocks)
    assert resnet.build_resnet50("image", Config) == (3, 4, 6, 3)
    names = [layer for layer, _ in oracle_layout]
    blocks = resnet.build_resnet101("image", Config)
    assert list(blocks) == [
        sum(name.startswith(f"res{n}") and name.endswith("2a") for name in names) for n in range(2, 6)
    ]
    assert [block_letter(index) for index in (0, 5, 22)] == ["a", "f", "w"]
    assert "res4w_branch2a" in names


def block(name, is_first, tap):
    """A block of width 1 on 4 channels: 2a takes channel 0, 2b is one tap, 2c doubles and triples …, no biases."""
    image = keras.Input((4, 6, 4))
    model = keras.Model(image, ResNetParts(Config).bottleneck(image, 1, name, is_first))
    first, middle = np.zeros((1, 1, 4, 1)), np.zeros((3, 3, 1, 1))
    first[0, 0, 0, 0] = middle[tap] = 1
    model.get_layer(f"res{name}_branch2a").set_weights([first, np.zeros(1)])
    model.get_layer(f"res{name}_branch2b").set_weights([middle, np.zeros(1)])
    model.get_layer(f"res{name}_branch2c").set_weights([np.array([[[[2.0, 3, 4, -5]]]]), np.zeros(4)])
    if is_first:
        model.get_layer(f"res{name}_branch1").set_weights([np.eye(4)[None, None], np.zeros(4)])
    return model


X = np.random.default_rng(4).uniform(-1, 1, (1, 4, 6, 4)).astype(np.float32)


@pytest.mark.parametrize(("name", "stride"), [("2a", 1), ("3a", 2)])
def test_the_stride_of_a_stage_is_in_its_first_convolution(name, stride):
    found = ops.convert_to_numpy(block(name, True, (1, 2))(X))
    thinned = X[:, ::stride, ::stride]
    right = np.zeros_like(thinned[..., :1])
    right[:, :, :-1] = np.maximum(thinned[:, :, 1:, :1], 0)  # the 3 x 3 convolution sees the neighbor after thinning
    expected = right * [2, 3, 4, -5] / NORM**3 + thinned / NORM
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def test_later_blocks_add_their_input_as_it_is():
    found = ops.convert_to_numpy(block("3b", False, (1, 1))(X))
    expected = np.maximum(X[..., :1], 0) * [2, 3, 4, -5] / NORM**3 + X
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)
