"""The copy that only runs: the same answers without normalization layers, and nearly the same in half precision."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.network.folding import FLOAT32_LAYERS, copy_model, inference_copy
from mrcnn.network.network import MaskRCNNNetwork
from tests.mrcnn.conftest import match_one_to_one, pixel_iou, relative_error
from tests.mrcnn.tiny import TinyConfig, tiny_image, tiny_network


@pytest.fixture(scope="module")
def network():
    """With statistics that change something."""
    network = tiny_network()
    rng = np.random.default_rng(3)
    for name, layer in network.layers_by_name().items():
        if isinstance(layer, layers.BatchNormalization):
            assert "bn" in name
            layer.moving_mean.assign(rng.normal(0, 0.2, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2.0, layer.moving_variance.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
    return network


def everything(network, canvas, rois):
    """Pyramid, logits, deltas and masks of fixed regions, float32 arrays."""
    pyramid, rpn_logits, rpn_deltas = network.extract(ops.convert_to_tensor(canvas), np.float32([[0, 0, 1, 1]]))
    class_logits, deltas = network.classify(pyramid, ops.convert_to_tensor(rois), canvas.shape[1:3])
    ids = ops.convert_to_tensor(np.ones(rois.shape[:2], np.int32))
    masks = network.predict_masks(pyramid, ops.convert_to_tensor(rois), ids, canvas.shape[1:3])
    answers = [*pyramid, rpn_logits, rpn_deltas, class_logits, deltas, masks]
    return [ops.convert_to_numpy(ops.cast(answer, "float32")) for answer in answers]


ROIS = np.array([[[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1], [0.3, 0.3, 0.4, 0.6]]], np.float32)


PRECISIONS = [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 5e-2)]
if keras.backend.backend() == "jax":
    PRECISIONS = PRECISIONS[2:]  # a quarter of a minute each


@pytest.mark.parametrize(("precision", "bound"), PRECISIONS)
def test_every_answer_stays_within_the_rounding_of_its_precision(network, precision, bound):
    canvas = tiny_image(64, 128)[None]
    copy = inference_copy(network, precision)
    expected, found = everything(network, canvas, ROIS), everything(copy, canvas, ROIS)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) < bound
    for model in copy.models:
        for layer in model.layers:
            assert not isinstance(layer, layers.BatchNormalization)
            if layer.weights and layer.name != "rpn_model":
                wanted = "float32" if layer.name in FLOAT32_LAYERS else precision
                assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} == {wanted}


def test_logits_and_deltas_are_float32_in_half_precision(network):
    copy = inference_copy(network, "bfloat16")
    outputs = [*copy.features.outputs[5:], *copy.box_head.outputs, *copy.mask_head.outputs]
    assert {keras.backend.standardize_dtype(output.dtype) for output in outputs} == {"float32"}
    assert keras.backend.standardize_dtype(copy.features.outputs[0].dtype) == "bfloat16"
    rpn = copy.features.get_layer("rpn_model")
    dtypes = {layer.name: layer.variable_dtype for layer in rpn.layers if layer.weights}
    assert dtypes == {"rpn_conv_shared": "bfloat16", "rpn_class_raw": "float32", "rpn_bbox_pred": "float32"}


def test_half_precision_finds_what_float32_finds(network):
    engines = [KerasEngine(network), KerasEngine(inference_copy(network, "float16"))]
    wanted_count = found_count = matched = 0
    for seed in range(1, 9):
        canvas = tiny_image(64, 192, seed)[None]
        a, b = (engine.detect_molded(canvas, np.array([[0, 0, 64, 192]]))[0] for engine in engines)
        overlaps = pixel_iou(a.boxes_in_pixels(64, 192), b.boxes_in_pixels(64, 192))
        overlaps[a.class_ids[:, None] != b.class_ids[None]] = 0
        wanted_count, found_count = wanted_count + len(a), found_count + len(b)
        matched += len(match_one_to_one(overlaps, 0.9))
    assert wanted_count > 20
    assert matched >= 0.95 * max(wanted_count, found_count)


def test_the_copy_is_its_own(network):
    copy = inference_copy(network)
    before = ops.convert_to_numpy(copy.layers_by_name()["fpn_p2"].kernel).copy()
    original = network.layers_by_name()["fpn_p2"].kernel
    values = ops.convert_to_numpy(original).copy()
    original.assign(values + 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(copy.layers_by_name()["fpn_p2"].kernel), before)
    original.assign(values)


def test_statistics_of_the_batch_are_not_folded():
    class Batch(TinyConfig):
        TRAIN_BN = True

    network = tiny_network(Batch())
    copy = inference_copy(network)
    assert "tiny2_bn" in copy.layers_by_name()
    canvas = tiny_image(64, 64)[None]
    for ours, theirs in zip(everything(copy, canvas, ROIS), everything(network, canvas, ROIS), strict=True):
        assert relative_error(ours, theirs) < 1e-5


def test_depthwise_transposed_and_unbiased_convolutions_are_folded_and_activated_ones_are_not():
    def backbone(image, stage5, train_bn):
        x = layers.Conv2D(4, 3, strides=4, padding="same", use_bias=False, name="plain")(image)
        x = layers.BatchNormalization(name="plain_norm")(x)
        x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="deep")(x)
        x = layers.BatchNormalization(scale=False, name="deep_norm")(x)
        x = layers.Conv2DTranspose(6, 1, name="back")(x)
        x = layers.BatchNormalization(center=False, name="back_norm")(x)
        y = layers.Conv2D(6, 1, activation="relu", name="active")(x)
        y = layers.BatchNormalization(name="active_norm")(y)
        z = layers.Conv2D(6, 1, name="shared")(y)
        x = layers.Add(name="sum")([z, layers.BatchNormalization(name="shared_norm")(z)])
        stages = [None, x]
        for stage in (3, 4, 5):
            stages.append(layers.MaxPooling2D(2, name=f"pool{stage}")(stages[-1]))
        return stages

    class Odd(TinyConfig):
        BACKBONE = staticmethod(backbone)

    network = MaskRCNNNetwork(Odd())
    rng = np.random.default_rng(5)
    for layer in network.layers_by_name().values():
        for variable in layer.weights:
            positive = variable.name in ("gamma", "moving_variance")
            variable.assign(rng.uniform(0.5, 2, variable.shape) if positive else rng.normal(0, 0.3, variable.shape))
    copy = inference_copy(network)
    norms = {name for name, layer in copy.layers_by_name().items() if isinstance(layer, layers.BatchNormalization)}
    assert norms == {"active_norm", "shared_norm"}
    canvas = tiny_image(64, 128)[None]
    for ours, theirs in zip(everything(copy, canvas, ROIS), everything(network, canvas, ROIS), strict=True):
        assert relative_error(ours, theirs) < 1e-4


def test_another_precision_is_an_error(network):
    with pytest.raises(ValueError, match="one of float32, bfloat16, float16, got 'int8'"):
        inference_copy(network, "int8")


def _conv_that_is_an_output(source):
    raw = layers.Conv2D(4, 1, name="conv")(source)
    return [layers.BatchNormalization(name="norm")(raw), raw]


def _conv_called_twice(source):
    conv = layers.Conv2D(4, 1, name="conv")
    return [layers.BatchNormalization(name="norm")(conv(source)), conv(layers.Rescaling(-1.0)(source))]


def _norm_called_twice(source):
    norm = layers.BatchNormalization(name="norm")
    return [norm(layers.Conv2D(4, 1, name="conv")(source)), norm(layers.Conv2D(4, 1)(source))]


@pytest.mark.parametrize("build", [_conv_that_is_an_output, _conv_called_twice, _norm_called_twice])
def test_a_convolution_whose_result_is_read_without_the_norm_is_not_folded(build):
    source = keras.Input((None, None, 3))
    model = keras.Model(source, build(source))
    rng = np.random.default_rng(5)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 2, variable.shape))
    copy = copy_model(model, "float32")
    assert "norm" in [layer.name for layer in copy.layers]
    values = rng.normal(0, 1, (2, 5, 7, 3)).astype(np.float32)
    for ours, theirs in zip(copy(values), model(values), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-5)
