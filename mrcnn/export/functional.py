"""Translates Keras models of the functional kind into ONNX nodes, call by call of their layers.

Batch normalization is folded into the convolution before it, if that is all the convolution's result is used for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from mrcnn.export.layers import ExportError, Tensor, write_layer
from mrcnn.export.onnx_graph import Graph


def translate(
    model: keras.Model, inputs: Sequence[Tensor], graph: Graph, names: Mapping[str, str] | None = None
) -> list[Tensor]:
    """Add a functional model to a graph.

    Args:
        model: a functional model; models inside it are translated in place.
        inputs: what takes the place of its inputs.
        graph: what the nodes are added to.
        names: names in the graph for what some layers give, by the layer's name.

    Returns:
        Its outputs, flattened.

    Raises:
        ExportError: it has a layer, or a way of using one, that is not known here.
    """
    return _Walk(model, graph, names or {}).run(inputs)


class _Walk:
    """One model, called once."""

    def __init__(self, model: keras.Model, graph: Graph, names: Mapping[str, str]):
        self._model, self._graph, self._names = model, graph, names
        self._config = model.get_config()
        self._tensors: dict[tuple[str, int, int], Tensor] = {}
        self._uses = Counter(reference for entry in self._config["layers"] for reference in _references(entry))
        self._outputs = [self._output_key(*reference) for reference in _as_list(self._config["output_layers"])]
        self._uses.update(self._outputs)
        self._folded = self._find_folded()

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        names = [tuple(reference) for reference in _as_list(self._config["input_layers"])]
        self._tensors.update(zip(names, inputs, strict=True))
        calls = [
            (entry["name"], index, _tensor_keys(node["args"]))
            for entry in self._config["layers"]
            for index, node in enumerate(entry["inbound_nodes"])
        ]
        while calls:
            waiting = [call for call in calls if not self._call(*call)]
            if len(waiting) == len(calls):
                raise ExportError(f"{self._model.name}: the layers {waiting[0][0]} … wait for one another")
            calls = waiting
        return [self._tensors[key] for key in self._outputs]

    def _output_key(self, name: str, node: int, tensor: int) -> tuple[str, int, int]:
        """Among the outputs, and only there, Keras counts the calls of a model inside from one."""
        return name, node - isinstance(self._model.get_layer(name), keras.Model), tensor

    def _call(self, name: str, index: int, keys: Sequence[tuple[str, int, int]]) -> bool:
        """Translate one call of a layer, if all that goes in is there."""
        if not all(key in self._tensors for key in keys):
            return False
        layer = self._model.get_layer(name)
        arguments = [self._tensors[key] for key in keys]
        if isinstance(layer, keras.Model):
            results = translate(layer, arguments, self._graph)
        else:
            results = [self._layer(layer, arguments)]
            if name in self._names:
                results = [replace(results[0], name=self._graph.rename(results[0].name, self._names[name]))]
        self._tensors.update({(name, index, place): result for place, result in enumerate(results)})
        return True

    def _layer(self, layer: keras.Layer, arguments: Sequence[Tensor]) -> Tensor:
        if layer.name in self._folded.values():
            return arguments[0]  # its convolution has done it
        norm_name = self._folded.get(layer.name)
        norm = self._model.get_layer(norm_name) if norm_name else None
        return write_layer(self._graph, layer, arguments, norm)

    def _find_folded(self) -> dict[str, str]:
        """Which normalizations follow a convolution that nothing else reads: {convolution: normalization}."""
        folded = {}
        calls = {entry["name"]: len(entry["inbound_nodes"]) for entry in self._config["layers"]}
        for entry in self._config["layers"]:
            layer = self._model.get_layer(entry["name"])
            if not isinstance(layer, keras.layers.BatchNormalization) or calls[layer.name] != 1:
                continue
            key = _tensor_keys(entry["inbound_nodes"][0]["args"])[0]
            before = self._model.get_layer(key[0])
            is_plain = type(before) is keras.layers.Conv2D and before.activation is keras.activations.linear
            if is_plain and calls[before.name] == self._uses[key] == 1:
                folded[before.name] = layer.name
        return folded


def _as_list(references: Any) -> list:
    """Keras writes a single reference [name, node, tensor] as itself; several nested as the model's outputs are."""
    if references and isinstance(references[0], str):
        return [references]
    found = []
    for item in references:
        found.extend(_as_list(item))
    return found


def _references(entry: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [key for node in entry["inbound_nodes"] for key in _tensor_keys(node["args"])]


def _tensor_keys(arguments: Any) -> list[tuple[str, int, int]]:
    """The tensors among the arguments of a call, in order."""
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            name, node, tensor = arguments["config"]["keras_history"]
            return [(name, node, tensor)]
        arguments = list(arguments.values())
    if isinstance(arguments, list | tuple):
        return [key for argument in arguments for key in _tensor_keys(argument)]
    return []
