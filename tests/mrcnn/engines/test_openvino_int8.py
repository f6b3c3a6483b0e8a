"""Int8 graphs compute what they computed before they were rewritten."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from mrcnn.engines.openvino_int8 import (
    give_int8_regions,
    halve_wide_convolutions,
    split_long_products,
    take_int8_regions,
)
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.engines.compiled import run

pytestmark = ONCE


def count(model, kind):
    return sum(node.get_type_name() == kind for node in model.get_ops())


def named(node, name):
    node.output(0).get_tensor().set_names({name})
    return node


def wide_model(filters, rows, columns):
    """A convolution as NNCF leaves it: int8 weights, a scale per filter, bias, ReLU, quantizer; and a reader."""
    rng = np.random.default_rng(5)
    planes = named(ops.parameter([1, 3, rows, columns], np.float32), "planes")
    weights = ops.convert(ops.constant(rng.integers(-127, 128, (filters, 3, 3, 3)).astype(np.int8)), "f32")
    scales = ops.constant(rng.uniform(0.001, 0.01, (filters, 1, 1, 1)).astype(np.float32))
    kernel = ops.multiply(weights, scales)
    found = ops.convolution(planes, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    found = ops.add(found, ops.constant(rng.normal(0, 0.3, (1, filters, 1, 1)).astype(np.float32)))
    low, high = np.float32(0), np.float32(2.55)
    found = ops.fake_quantize(ops.relu(found), low, high, low, high, 256)
    result = named(ops.result(ops.reduce_max(found, np.array([2]), False)), "greatest")
    return openvino.Model([result], [planes], "wide")


@pytest.mark.parametrize(
    ("filters", "rows", "columns", "convolutions"), [(512, 128, 160, 2), (512, 16, 24, 1), (256, 128, 160, 1)]
)
def test_wide_convolutions_on_large_maps_are_halved(filters, rows, columns, convolutions):
    model = wide_model(filters, rows, columns)
    planes = {"planes": np.random.default_rng(6).normal(0, 1, (1, 3, rows, columns)).astype(np.float32)}
    before = run(model, planes)["greatest"]
    halve_wide_convolutions(model)
    assert count(model, "Convolution") == convolutions
    after = run(model, planes)["greatest"]
    assert after.shape == (1, filters, columns)
    assert np.ptp(before) > 0.5
    np.testing.assert_allclose(after, before, atol=0.011)  # a step of the quantizer


STEP = 0.03
SYMMETRIC = (-128 * STEP, 127 * STEP)


def head_model(terms=96, limits=SYMMETRIC, levels=256, transposed=False):
    """A head as NNCF leaves it: a quantizer, a product with int8 weights, a bias; "regions" (n, terms) to "found"."""
    rng = np.random.default_rng(7)
    regions = named(ops.parameter([-1, terms], np.float32), "regions")
    low, high = (np.float32(limit) for limit in limits)
    values = ops.fake_quantize(regions, low, high, low, high, levels)
    weights = ops.convert(ops.constant(rng.integers(-127, 128, (terms, 5)).astype(np.int8)), "f32")
    weights = ops.multiply(weights, ops.constant(rng.uniform(0.001, 0.01, (1, 5)).astype(np.float32)))
    if transposed:
        weights = ops.transpose(weights, np.array([1, 0]))
    found = ops.matmul(values, weights, False, transposed)
    found = ops.add(found, ops.constant(rng.normal(0, 1, 5).astype(np.float32)))
    return openvino.Model([named(ops.result(found), "found")], [regions], "head")


def regions_model(terms=96):
    """What stands in for the pooling: "places" (n, terms) to "regions", twice as large."""
    places = named(ops.parameter([-1, terms], np.float32), "places")
    doubled = ops.multiply(places, ops.constant(np.float32(2)))
    return openvino.Model([named(ops.result(doubled), "regions")], [places], "pooling")


def test_regions_go_from_pooling_to_head_as_int8():
    """On every step, beyond both ends, and up to a third of a step beside; the quantizer itself is what is expected."""
    beside = np.random.default_rng(10).uniform(-0.3, 0.3, 288)
    beside[:96] = 0
    places = ((np.arange(-144, 144) + beside) * STEP / 2).astype(np.float32).reshape(3, 96)
    pooling, head = regions_model(), head_model()
    before = run(head, {"regions": run(pooling, {"places": places})["regions"]})["found"]
    step = take_int8_regions(head, "regions")
    assert step == pytest.approx(STEP)
    give_int8_regions(pooling, step)
    regions = run(pooling, {"places": places})["regions"]
    assert regions.dtype == np.int8
    np.testing.assert_array_equal(regions, np.clip(np.arange(-144, 144), -128, 127).reshape(3, 96))
    assert count(head, "FakeQuantize") == 0
    after = run(head, {"regions": regions})["found"]
    assert np.ptp(before) > 1
    np.testing.assert_allclose(after, before, atol=1e-3)


def test_no_regions_are_no_regions():
    pooling = regions_model()
    give_int8_regions(pooling, STEP)
    regions = run(pooling, {"places": np.zeros((0, 96), np.float32)})["regions"]
    assert (regions.shape, regions.dtype) == ((0, 96), np.int8)


@pytest.mark.parametrize(
    "other", [{"limits": (0.0, 255 * STEP)}, {"limits": (-100 * STEP, 155 * STEP)}, {"levels": 255}]
)
def test_a_head_that_quantizes_otherwise_takes_float32(other):
    head = head_model(**other)
    regions = {"regions": np.random.default_rng(8).normal(0, 1, (3, 96)).astype(np.float32)}
    before = run(head, regions)["found"]
    assert take_int8_regions(head, "regions") is None
    np.testing.assert_array_equal(run(head, regions)["found"], before)


def test_a_head_that_reads_its_regions_twice_takes_float32():
    head = head_model()
    head.add_results([named(ops.result(head.get_parameters()[0]), "same")])
    assert take_int8_regions(head, "regions") is None


@pytest.mark.parametrize(("terms", "transposed", "products"), [(8195, False, 4), (8191, False, 1), (8195, True, 1)])
def test_products_of_many_terms_are_split(terms, transposed, products):
    head = head_model(terms, transposed=transposed)
    regions = {"regions": np.random.default_rng(9).normal(0, 1, (3, terms)).astype(np.float32)}
    before = run(head, regions)["found"]
    split_long_products(head)
    assert count(head, "MatMul") == products
    after = run(head, regions)["found"]
    assert after.shape == (3, 5)
    assert np.ptp(before) > 10
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)
