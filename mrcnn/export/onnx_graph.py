"""Builds an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""Operator set version: old enough for TensorRT 8.6, new enough for RoiAlign with half-pixel coordinates."""

IR_VERSION = 9

_ONNX_TYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}


class Graph:
    """An ONNX graph under construction. Methods take and return tensors by name."""

    def __init__(self, name: str):
        """Start an empty graph.

        Args:
            name: of the graph.
        """
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Add an input; strings in the shape name dynamic sizes."""
        self._inputs.append(helper.make_tensor_value_info(name, _ONNX_TYPES[dtype], list(shape)))
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Make a tensor an output of the graph under another name."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _ONNX_TYPES[dtype], list(shape)))

    def rename(self, tensor: str, name: str) -> str:
        """Rename the output of a node, and return the new name."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if one == tensor else one for one in names]
        return name

    def constant(self, values: Any, dtype: str = "float32") -> str:
        """Add a constant tensor."""
        name = self._new_name("constant")
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant int64 vector, the type of shapes and axes."""
        return self.constant(np.array(values), "int64")

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name; an empty string omits an input."""
        output = self._new_name(kind)
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def add_many(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        names = [self._new_name(kind) for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def model(self) -> onnx.ModelProto:
        """The finished, validated model.

        Raises:
            onnx.checker.ValidationError: the graph is not valid ONNX.
        """
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="stream_segment")
        onnx.checker.check_model(model)
        return model

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"
