"""A graph by hand: an output under a name of its own, constants of a type, a node with several outputs."""

import numpy as np
import onnx
import pytest

from mrcnn.export.onnx_graph import IR_VERSION, OPSET, Graph
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import run_onnx

pytestmark = ONCE


def split_and_scale() -> Graph:
    graph = Graph("by hand")
    source = graph.input("x", "float32", ("N", 5))
    first, second = graph.add_many("Split", (source, graph.integers(2, 3)), 2, axis=1)
    graph.output(graph.add("Mul", first, graph.constant(10.0)), "scaled", "float32", ("N", 2))
    graph.output(second, "rest", "float32", ("N", 3))
    return graph


def test_nodes_are_computed_under_the_given_names():
    model = split_and_scale().model()
    assert [output.name for output in model.graph.output] == ["scaled", "rest"]
    scaled, rest = run_onnx(model, {"x": np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]], np.float32)})
    np.testing.assert_array_equal(scaled, [[10, 20], [60, 70]])
    np.testing.assert_array_equal(rest, [[3, 4, 5], [8, 9, 0]])


def test_model_says_which_onnx_it_is():
    model = split_and_scale().model()
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION


def test_an_input_may_be_left_out():
    graph = Graph("resize")
    source = graph.input("x", "float32", (1, 1, 1, 2))
    scales = graph.constant([1.0, 1.0, 2.0, 3.0])
    graph.output(graph.add("Resize", source, "", scales, mode="nearest"), "y", "float32", (1, 1, 2, 6))
    (result,) = run_onnx(graph.model(), {"x": np.array([[[[1, 2]]]], np.float32)})
    assert result.shape == (1, 1, 2, 6)


def test_constants_keep_their_values_in_any_memory_order():
    graph = Graph("constants")
    turned = np.arange(6, dtype=np.float64).reshape(2, 3).T
    whole = graph.add("Add", graph.input("x", "float32", (3, 2)), graph.constant(turned))
    graph.output(whole, "y", "float32", (3, 2))
    (result,) = run_onnx(graph.model(), {"x": np.zeros((3, 2), np.float32)})
    np.testing.assert_array_equal(result, [[0, 3], [1, 4], [2, 5]])


def test_a_graph_that_is_no_onnx_is_refused():
    graph = Graph("broken")
    graph.output(graph.add("Relu", "nowhere"), "y", "float32", (1,))
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        graph.model()
