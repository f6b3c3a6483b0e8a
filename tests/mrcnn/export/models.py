"""Keras models against what is written of them."""

from __future__ import annotations

import keras
import numpy as np

from mrcnn.export.layers import Tensor, translate
from mrcnn.export.onnx_graph import Graph
from tests.mrcnn.exporting import run_onnx


def randomize(model: keras.Model, seed: int = 3) -> keras.Model:
    """Weights that no axis can be mistaken in: random, other in every channel; variances above zero."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        values = rng.normal(0, 0.5, variable.shape)
        variable.assign((0.5 + np.abs(values) if "variance" in variable.path else values).astype(np.float32))
    return model


def written(model: keras.Model):
    """The ONNX model of a Keras model with one input. Feature maps come out as ONNX has them, (B, C, H, W)."""
    graph = Graph("test")
    shape = model.inputs[0].shape
    if len(shape) == 4:
        source = Tensor(graph.input("x", "float32", ("B", shape[3], "H", "W")), 4, shape[3], _known(shape[1:3]))
    else:
        sizes = [f"N{axis}" if size is None else size for axis, size in enumerate(shape)]
        source = Tensor(graph.input("x", "float32", sizes), len(shape), shape[-1])
    for index, tensor in enumerate(translate(model, [source], graph)):
        graph.output(tensor.name, f"y{index}", "float32", [f"y{index}_{axis}" for axis in range(tensor.rank)])
    return graph.model()


def compare(model: keras.Model, *input_shape: int, tolerance: float = 1e-5) -> None:
    """What is written of a model answers a random input as the model does, output by output."""
    values = np.random.default_rng(5).normal(0, 1, input_shape).astype(np.float32)
    expected = [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(model(values, training=False))]
    fed = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
    found = run_onnx(written(model), {"x": np.ascontiguousarray(fed)})
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        ours = ours.transpose(0, 2, 3, 1) if ours.ndim == 4 else ours
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def _known(hw):
    return None if None in hw else tuple(hw)
