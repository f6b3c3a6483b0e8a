"""Converted weights give what PyTorch's layers give with the original ones (tests/data/checkpoints)."""

import numpy as np
import pytest

from mrcnn.weights.conversion import convert
from mrcnn.weights.hdf5 import WeightsError
from mrcnn.weights.state_dict import open_state_dict
from mrcnn.weights.stored_tensor import Span, Storage, Tensor, packed_strides
from tests.mrcnn.weights.checkpoints import DATA, FILES, converted, outputs

NAMES = tuple(FILES)
TO_DY_DX = [1, 0, 3, 2]


def expected(name, what):
    return outputs()[f"{name}/{what}"]


def channels_last(array):
    return array.transpose(0, 2, 3, 1)


def conv(x, arrays, padding=0, stride=1):
    """Cross-correlation of (B, H, W, C) with a kernel (h, w, in, out), and the bias."""
    kernel = arrays["kernel"].astype(np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("byxchw,hwco->byxo", windows, kernel) + arrays["bias"]


def norm(x, arrays, epsilon):
    scale = arrays["gamma"] / np.sqrt(arrays["moving_variance"].astype(np.float64) + epsilon)
    return (x - arrays["moving_mean"]) * scale + arrays["beta"]


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_stem_takes_rgb_minus_the_mean(name):
    config, layers = converted(name)
    image = channels_last(expected(name, "image")) - np.asarray(config.MEAN_PIXEL)
    found = conv(image, layers["conv1"], padding=3, stride=2)
    assert_close(found, channels_last(expected(name, "stem")))


@pytest.mark.parametrize("name", NAMES)
def test_region_proposals(name):
    _, layers = converted(name)
    shared = relu(conv(channels_last(expected(name, "level")), layers["rpn_conv_shared"], padding=1))
    assert ("rpn_conv_shared2" in layers) == (name == "torchvision_v2")
    if "rpn_conv_shared2" in layers:
        shared = relu(conv(shared, layers["rpn_conv_shared2"], padding=1))
    logits = conv(shared, layers["rpn_class_raw"]).reshape(-1, 2)
    assert_close(softmax(logits)[:, 1:], expected(name, "objectness"))
    deltas = conv(shared, layers["rpn_bbox_pred"]).reshape(-1, 4)
    assert_close(deltas, expected(name, "anchor_deltas")[:, TO_DY_DX])


@pytest.mark.parametrize("name", NAMES)
def test_box_head(name):
    _, layers = converted(name)
    x = channels_last(expected(name, "pooled"))
    for index in range(1, 5 if name == "torchvision_v2" else 1):
        x = relu(norm(conv(x, layers[f"mrcnn_box_conv{index}"], padding=1), layers[f"mrcnn_box_bn{index}"], 1e-5))
    x = relu(conv(x, layers["mrcnn_class_conv1"]))
    if name != "torchvision_v2":
        x = relu(conv(x, layers["mrcnn_class_conv2"]))
    x = x.reshape(2, -1)
    probs = softmax(x @ layers["mrcnn_class_logits"]["kernel"] + layers["mrcnn_class_logits"]["bias"])
    deltas = (x @ layers["mrcnn_bbox_fc"]["kernel"] + layers["mrcnn_bbox_fc"]["bias"]).reshape(2, -1, 4)
    wanted_probs, wanted_deltas = expected(name, "class_probs"), expected(name, "class_deltas")[:, :, TO_DY_DX]
    if name == "detectron2":
        wanted_probs = np.concatenate([wanted_probs[:, -1:], wanted_probs[:, :-1]], axis=1)
        wanted_deltas = np.concatenate([np.zeros((2, 1, 4)), wanted_deltas], axis=1)
    assert_close(probs, wanted_probs)
    assert_close(deltas, wanted_deltas)


@pytest.mark.parametrize("name", NAMES)
def test_mask_head(name):
    _, layers = converted(name)
    x = channels_last(expected(name, "regions"))
    for index in range(1, 5):
        x = conv(x, layers[f"mrcnn_mask_conv{index}"], padding=1)
        if name == "torchvision_v2":
            x = norm(x, layers[f"mrcnn_mask_bn{index}"], 1e-5)
        x = relu(x)
    kernel = layers["mrcnn_mask_deconv"]["kernel"]
    # each cell becomes 2 x 2: no window overlaps another one
    x = np.einsum("byxi,hwoi->byhxwo", x, kernel).reshape(2, 28, 28, -1) + layers["mrcnn_mask_deconv"]["bias"]
    masks = sigmoid(conv(relu(x), layers["mrcnn_mask"]))
    wanted = channels_last(expected(name, "masks"))
    first = 1 if name == "detectron2" else 0
    assert_close(masks[..., first : first + wanted.shape[-1]], wanted)
    if first:
        np.testing.assert_array_equal(masks[..., 0], 0.5)


def test_a_lateral_connection_with_norm():
    _, layers = converted("torchvision_v2")
    x = conv(channels_last(expected("torchvision_v2", "stage")), layers["fpn_c5p5"])
    assert_close(norm(x, layers["fpn_c5p5_bn"], 1e-5), channels_last(expected("torchvision_v2", "lateral")))


@pytest.mark.keras
def test_the_transposed_convolution_is_kerass():
    from keras import ops

    kernel = converted("torchvision_v1")[1]["mrcnn_mask_deconv"]["kernel"]
    x = np.random.default_rng(1).normal(size=(1, 2, 3, 4)).astype(np.float32)
    found = ops.convert_to_numpy(ops.conv_transpose(x, kernel, strides=2, padding="valid"))
    wanted = np.einsum("byxi,hwoi->byhxwo", x, kernel).reshape(1, 4, 6, 4)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "architecture", "classes", "names"),
    [
        (
            "torchvision_v1",
            "torchvision",
            91,
            {0: "BG", 1: "person", 12: "unused 12", 13: "stop sign", 90: "toothbrush"},
        ),
        ("torchvision_v2", "torchvision_v2", 4, None),
        ("detectron2", "detectron2", 81, {0: "BG", 1: "person", 12: "stop sign", 80: "toothbrush"}),
    ],
)
def test_settings_and_names(name, architecture, classes, names):
    with open_state_dict(FILES[name]) as tensors:
        conversion = convert(tensors)
    config = conversion.config
    assert (conversion.architecture.name, config.ARCHITECTURE, config.BACKBONE) == (
        architecture,
        architecture,
        "resnet50",
    )
    assert (config.NUM_CLASSES, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (classes, 800, 1333)
    assert (config.STEM_CHANNELS, config.TOP_DOWN_PYRAMID_SIZE) == (1, 4)
    assert (config.RPN_CHANNELS, config.MASK_HEAD_CHANNELS) == (4, 4)
    assert config.FPN_CLASSIF_FC_LAYERS_SIZE == 16
    assert tuple(config.RPN_ANCHOR_RATIOS) == (2.0, 1.0, 0.5)
    found = conversion.class_names
    assert found is None if names is None else {index: found[index] for index in names} == names
    assert found is None or len(set(found)) == classes


def test_each_layer_is_converted_from_its_own_tensors():
    """The scale of a norm of each block, which no other test looks at."""
    _, layers = converted("torchvision_v1")
    with open_state_dict(FILES["torchvision_v1"]) as tensors:
        for block, name in {"2a": "layer1.0", "3d": "layer2.3", "4f": "layer3.5", "5c": "layer4.2"}.items():
            for branch, number in (("a", 1), ("b", 2), ("c", 3)):
                arrays = layers[f"bn{block}_branch2{branch}"]
                kinds = {
                    "gamma": "weight",
                    "beta": "bias",
                    "moving_mean": "running_mean",
                    "moving_variance": "running_var",
                }
                for kind, key in kinds.items():
                    wanted = tensors[f"backbone.body.{name}.bn{number}.{key}"].read()
                    np.testing.assert_array_equal(arrays[kind], wanted)
                wanted = tensors[f"backbone.body.{name}.conv{number}.weight"].read()
                np.testing.assert_array_equal(
                    layers[f"res{block}_branch2{branch}"]["kernel"], wanted.transpose(2, 3, 1, 0)
                )
        for stage in (2, 3, 4, 5):
            wanted = tensors[f"backbone.body.layer{stage - 1}.0.downsample.1.running_mean"].read()
            np.testing.assert_array_equal(layers[f"bn{stage}a_branch1"]["moving_mean"], wanted)
            wanted = tensors[f"backbone.fpn.inner_blocks.{stage - 2}.0.bias"].read()
            np.testing.assert_array_equal(layers[f"fpn_c{stage}p{stage}"]["bias"], wanted)
            wanted = tensors[f"backbone.fpn.layer_blocks.{stage - 2}.0.bias"].read()
            np.testing.assert_array_equal(layers[f"fpn_p{stage}"]["bias"], wanted)


def test_convolutions_without_bias_get_zeros():
    _, layers = converted("torchvision_v2")
    for name in ("conv1", "res4b_branch2b", "fpn_p3", "mrcnn_box_conv2", "mrcnn_mask_conv4"):
        np.testing.assert_array_equal(layers[name]["bias"], np.zeros(layers[name]["kernel"].shape[-1], np.float32))
    assert all(array.dtype == np.float32 for arrays in layers.values() for array in arrays.values())


def tensor(*shape, fill=0.5):
    count = int(np.prod(shape))
    content = np.full(count, fill, np.float32).tobytes()
    return Tensor(Storage("float32", count, Span.of(content)), shape, packed_strides(shape))


@pytest.fixture
def state():
    """The tensors of torchvision's v1 with few channels, to change."""
    with open_state_dict(FILES["torchvision_v1"]) as tensors:
        yield dict(tensors)


def test_a_layer_that_is_missing(state):
    state = {name: value for name, value in state.items() if "mask" not in name}
    with pytest.raises(
        WeightsError, match=r"no layer 'mrcnn_mask_conv1', .*'mrcnn_mask'?.* a torchvision Mask R-CNN needs"
    ):
        convert(state)


def test_a_layer_that_is_not_ours(state):
    state["roi_heads.keypoint_head.0.weight"] = tensor(4, 4, 3, 3)
    with pytest.raises(
        WeightsError, match=r"it has the layer 'roi_heads\.keypoint_head\.0\.weight', which no Mask R-CNN"
    ):
        convert(state)


def test_a_block_that_no_resnet_has(state):
    state |= {name.replace("layer1.2", "layer1.3"): value for name, value in state.items() if "layer1.2" in name}
    with pytest.raises(WeightsError, match=r"has the layer 'backbone\.body\.layer1\.3\.conv1', .* which a torchvision"):
        convert(state)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("backbone.body.layer2.1.conv2.weight", (2, 1, 3, 3), r"shape \(2, 1, 3, 3\), expected \(2, 2, 3, 3\)"),
        ("backbone.body.bn1.weight", (3,), r"bn1\.weight has the shape \(3,\), expected \(1,\)"),
        ("rpn.head.cls_logits.weight", (5, 4, 1, 1), r"cls_logits\.weight has the shape .*expected \(3, 4, 1, 1\)"),
        ("roi_heads.box_predictor.bbox_pred.weight", (4, 16), r"bbox_pred\.weight has .*expected \(364, 16\)"),
        ("roi_heads.box_predictor.cls_score.weight", (1, 16), "has 1 classes, expected 2 to 10,000"),
        ("roi_heads.box_predictor.cls_score.weight", (), "has 0 classes"),
        ("roi_heads.box_head.fc6.bias", (17,), r"fc6\.bias has the shape \(17,\)"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_fit(state, name, shape, message):
    state[name] = tensor(*shape)
    with pytest.raises(WeightsError, match=message):
        convert(state)


def test_a_layer_with_half_a_norm(state):
    del state["backbone.body.bn1.running_var"]
    with pytest.raises(
        WeightsError, match=r"'backbone\.body\.bn1' must have bias, .*, it has bias, running_mean, weight"
    ):
        convert(state)


def test_integers_are_no_weights(state):
    state["rpn.head.cls_logits.bias"] = Tensor(Storage("int64", 3, Span.of(bytes(24))), (3,), (1,))
    with pytest.raises(WeightsError, match=r"cls_logits\.bias must hold floating-point numbers, it has int64"):
        convert(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(state, value):
    state["rpn.head.cls_logits.bias"] = tensor(3, fill=value)
    with pytest.raises(WeightsError, match="rpn_class_raw/bias has values that are not finite"):
        convert(state).arrays("rpn_class_raw")


def test_a_negative_variance(state):
    state["backbone.body.bn1.running_var"] = tensor(1, fill=-1.0)
    with pytest.raises(WeightsError, match="bn_conv1/moving_variance has negative values"):
        convert(state).arrays("bn_conv1")


@pytest.mark.parametrize(("name", "classes"), [("torchvision", 3), ("detectron2", 4)])
def test_checkpoints_of_training(name, classes):
    with open_state_dict(DATA / f"{name}_training.pth") as tensors:
        assert not any("momentum" in key for key in tensors)
        conversion = convert(tensors)
        assert (conversion.architecture.name, conversion.config.NUM_CLASSES) == (name, classes)
        shapes = {layer: conversion.arrays(layer)["kernel"].shape for layer in ("mrcnn_class_logits", "mrcnn_mask")}
    assert shapes == {"mrcnn_class_logits": (16, classes), "mrcnn_mask": (1, 1, 4, classes)}


def test_a_backbone_that_is_not_frozen_has_an_epsilon(state):
    """FrozenBatchNorm2d of the published weights divides by the root of the variance, BatchNorm2d adds 1e-5 to it."""
    state["backbone.body.bn1.running_var"] = tensor(1, fill=3e-5)
    frozen = convert(state)
    counted = convert(
        {**state, "backbone.body.bn1.num_batches_tracked": Tensor(Storage("int64", 1, Span.of(bytes(8))), (), ())}
    )
    for conversion, variance in ((frozen, 3e-5), (counted, 4e-5)):
        assert conversion.architecture.norm_epsilon == 0
        np.testing.assert_allclose(conversion.arrays("bn_conv1")["moving_variance"], variance, rtol=1e-6)
    np.testing.assert_allclose(
        counted.arrays("bn5c_branch2c")["moving_variance"] - frozen.arrays("bn5c_branch2c")["moving_variance"],
        1e-5,
        atol=2e-7,
    )


def test_the_second_version_has_its_epsilon_in_its_layers():
    _, layers = converted("torchvision_v2")
    with open_state_dict(FILES["torchvision_v2"]) as tensors:
        assert "backbone.body.bn1.num_batches_tracked" in tensors
        wanted = tensors["backbone.body.bn1.running_var"].read()
    np.testing.assert_array_equal(layers["bn_conv1"]["moving_variance"], wanted)


def test_other_pixels_than_detectron2s():
    with open_state_dict(FILES["detectron2"]) as tensors:
        known = {**tensors, "pixel_std": tensor(3, 1, 1, fill=1.0)}
        assert convert(known).architecture.name == "detectron2"
        with pytest.raises(WeightsError, match="pixel_std is not detectron2's"):
            convert({**tensors, "pixel_std": tensor(3, 1, 1, fill=57.0)})


def test_resnet101_is_recognized_by_its_blocks(state):
    first = {name: value for name, value in state.items() if "layer3.1." in name}
    for index in range(6, 23):
        state |= {name.replace("layer3.1.", f"layer3.{index}."): value for name, value in first.items()}
    conversion = convert(state)
    assert conversion.config.BACKBONE == "resnet101"
    assert "res4w_branch2c" in conversion.layer_names
