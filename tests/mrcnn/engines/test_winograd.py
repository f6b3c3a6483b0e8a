"""Convolutions by Winograd's method compute what the direct ones compute, and take the place of the right ones."""

from __future__ import annotations

import numpy as np
import pytest
from openvino import Model
from openvino import opset13 as ops

from mrcnn.engines import openvino_runtime
from mrcnn.engines.openvino_runtime import core, winograd_is_faster
from mrcnn.engines.winograd import use_winograd
from tests.mrcnn.conftest import ONCE

pytestmark = ONCE

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def yes():
    return True


def random(*shape):
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32)


def convolved(source, filters, *, step=1, pad=1, bias=True, relu=False):
    count, channels, side, _ = filters.shape
    weights = ops.constant(filters / np.float32(side * channels**0.5))
    values = ops.convolution(source, weights, [step] * 2, [pad] * 2, [pad] * 2, [1, 1])
    if bias:
        values = ops.add(values, ops.constant(random(1, count, 1, 1)))
    return ops.relu(values) if relu else values


def layers(shape, *channels, **how):
    """A model of convolutions, one after the other."""
    source = values = ops.parameter(shape, np.float32)
    for before, count in zip([shape[1], *channels], channels, strict=False):
        values = convolved(values, random(count, before, 3, 3), **how)
    return Model([values], [source])


def kinds(model):
    return [node.get_type_name() for node in model.get_ordered_ops()]


def run(model, values):
    return core().compile_model(model, "CPU", FLOAT32)([values])[0].copy()


@pytest.mark.parametrize(
    ("shape", "images", "channels", "how"),
    [
        ((1, 128, 90, 93), 1, (130,), {}),
        ((2, 136, 64, 68), 2, (128, 144), {"relu": True}),
        ((1, 128, 92, 92), 1, (128,), {"bias": False}),
        ((-1, 128, 7, 7), 5, (128, 160), {"relu": True}),
        ((-1, 128, 14, 14), 3, (128,), {}),
        ((-1, 128, 7, 7), 0, (128,), {"relu": True}),
    ],
)
def test_results_are_those_of_direct_convolutions(shape, images, channels, how):
    direct = layers(shape, *channels, **how)
    model = direct.clone()
    use_winograd(model, yes)
    assert "Convolution" not in kinds(model)
    values = random(images, *shape[1:]) if images else np.zeros((0, *shape[1:]), np.float32)
    wanted, found = run(direct, values), run(model, values)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_rows_are_not_transposed_between_two_convolutions():
    model = layers((1, 128, 92, 92), 128, 128, relu=True)
    use_winograd(model, yes)
    assert kinds(model).count("MatMul") == 6
    on_feature_maps = [node for node in model.get_ordered_ops() if node.get_type_name() == "Transpose"]
    assert len(on_feature_maps) == 2  # before the first and after the last


def test_a_reader_that_wants_the_channels_last_gets_the_rows():
    source = ops.parameter((1, 128, 92, 92), np.float32)
    values = convolved(source, random(128, 128, 3, 3))
    last = ops.transpose(values, np.array([0, 2, 3, 1]))
    direct = Model([ops.result(last), ops.result(values)], [source])
    model = direct.clone()
    use_winograd(model, yes)
    assert model.outputs[0].get_node().input_value(0).get_node().get_type_name() == "Add"
    image = random(1, 128, 92, 92)
    compiled = core().compile_model(model, "CPU", FLOAT32)([image])
    np.testing.assert_allclose(compiled[0], compiled[1].transpose(0, 2, 3, 1))
    np.testing.assert_allclose(compiled[1], run(Model([values], [source]), image), atol=2e-4)


def test_levels_that_share_filters_share_the_transformed_ones():
    filters = ops.constant(random(128, 128, 3, 3))
    sources = [ops.parameter((1, 128, side, side), np.float32) for side in (92, 96)]
    settings = [[1, 1]] * 4
    model = Model([ops.convolution(source, filters, *settings) for source in sources], sources)
    use_winograd(model, yes)
    transformed = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Constant" and list(node.get_output_shape(0)) == [36, 128, 128]
    ]
    assert len(transformed) == 1


@pytest.mark.parametrize(
    ("shape", "filters", "how"),
    [
        ((1, 128, 92, 92), (127, 128, 3, 3), {}),
        ((1, 64, 92, 92), (128, 64, 3, 3), {}),
        ((1, 128, 92, 92), (128, 128, 3, 3), {"step": 2}),
        ((1, 128, 92, 92), (128, 128, 3, 3), {"pad": 0}),
        ((1, 128, 92, 92), (128, 128, 1, 1), {"pad": 0}),
        ((1, 128, 88, 88), (128, 128, 3, 3), {}),  # 484 tiles
        ((1, 128, -1, -1), (128, 128, 3, 3), {}),
    ],
)
def test_what_would_gain_nothing_stays(shape, filters, how):
    source = ops.parameter(shape, np.float32)
    model = Model([convolved(source, random(*filters), **how)], [source])
    use_winograd(model, lambda: pytest.fail("asked without a convolution to replace"))
    assert "Convolution" in kinds(model)


def test_nothing_is_replaced_where_it_is_slower():
    model = layers((1, 128, 92, 92), 128)
    before = kinds(model)
    use_winograd(model, lambda: False)
    assert kinds(model) == before


def test_speed_is_measured_once(monkeypatch):
    winograd_is_faster.cache_clear()
    options = tuple(FLOAT32.items())
    first = winograd_is_faster(options)
    monkeypatch.setattr(openvino_runtime, "core", lambda: pytest.fail("measured again"))
    assert winograd_is_faster(options) is first
    winograd_is_faster.cache_clear()
