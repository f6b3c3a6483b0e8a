"""Computes 3x3 convolutions as products of transformed tiles, with a quarter of the multiplications (Winograd 1980).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), F(4x4, 3x3): the outputs of a tile of 4 x 4
positions are A^T [(G g G^T) * (B^T d B)] A, where g is a filter (3, 3) and d the 6 x 6 inputs under the tile. Summed
over all channels, for all tiles, the products are 36 matrix products. In float32 no result was seen to differ from the
direct one by more than 1.1e-4 of the values' standard deviation; for bfloat16 and int8 the transforms are too inexact.

OpenVINO's CPU plugin computes these convolutions directly on x86. Milliseconds of one of two such layers in a row, with
bias and ReLU, on two threads, OpenVINO 2026.4; medians, which differ by a third from run to run. The Xeon's threads
share a core; the EPYC is a Zen 5.

| direct, Winograd | Xeon | EPYC |
|---|---|---|
| 256 to 256 channels, 144 x 256 positions | 171, 95 | 89, 52 |
| 256 to 256 channels, 1000 regions of 7 x 7 | 237, 193 | 107, 84 |
| 128 to 128 channels, 72 x 128 positions | 11.0, 7.4 | 5.7, 4.5 |
| 64 to 64 channels, 72 x 128 positions | 2.5, 2.7 | 2.4, 2.0 |

In the shipped network on the EPYC, layers of 64 channels gain nothing: a frame takes 1.02 times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.engines.base import Floats

LEAST_CHANNELS = 128
LEAST_TILES = 512
"""A convolution is replaced if it has at least this many input and output channels and, where that is known, tiles:
its transformed filters take eight times the memory, which small feature maps do not repay."""

_TILE, _PATCH = 4, 6
"""Sides of a tile of outputs, and of the patch of inputs that it depends on."""

_PATCHES = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_FILTERS = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_TILES = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
"""B^T, G and A^T of Lavin and Gray: the transforms of patches, filters and tiles."""


def use_winograd(model: Any, is_faster: Callable[[], bool]) -> None:
    """Replace 3x3 convolutions with many channels on feature maps or regions of known height and width, in place.

    Args:
        model: an OpenVINO model that is computed in float32.
        is_faster: whether this pays off; only asked where there is a convolution to replace.
    """
    convolutions = [node for node in model.get_ordered_ops() if _is_replaceable(node)]
    if not convolutions or not is_faster():
        return
    _fold_constants(model)  # such as the biases' shapes
    filters: dict[str, Any] = {}
    for convolution in convolutions:
        weights = convolution.input_value(1).get_node()
        name = weights.get_friendly_name()  # the levels of the pyramid share the RPN's filters
        if name not in filters:
            filters[name] = _transformed_filters(weights.data)
        _replace(convolution, filters[name])
    model.validate_nodes_and_infer_types()


def _fold_constants(model: Any) -> None:
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def _is_replaceable(convolution: Any) -> bool:
    if convolution.get_type_name() != "Convolution":
        return False
    weights, settings = convolution.input_value(1).get_node(), convolution.get_attributes()
    images, *sizes = convolution.input_value(0).get_partial_shape()
    if weights.get_type_name() != "Constant" or any(size.is_dynamic for size in sizes):
        return False
    filters, channels, *kernel = weights.data.shape
    is_plain = settings["strides"] == settings["dilations"] == [1, 1]
    is_padded = settings["pads_begin"] == settings["pads_end"] == [1, 1]
    rows, columns = (math.ceil(size.get_length() / _TILE) for size in sizes[1:])
    has_tiles = images.is_dynamic or images.get_length() * rows * columns >= LEAST_TILES
    has_channels = min(filters, channels) >= LEAST_CHANNELS
    return bool(is_plain and is_padded and kernel == [3, 3] and has_channels and has_tiles)


def _transformed_filters(weights: Floats) -> Any:
    """Filters (K, C, 3, 3) as a constant (36, K, C)."""
    from openvino import opset13 as ops

    count, channels = weights.shape[:2]
    transformed = np.kron(_FILTERS, _FILTERS) @ weights.reshape(-1, 9).T.astype(np.float64)
    return ops.constant(transformed.astype(np.float32).reshape(-1, count, channels))


def _replace(convolution: Any, filters: Any) -> None:
    """Replace a convolution together with the bias and the ReLU that may follow it.

    Between the transposes at both ends, values are rows: one per position, each with the channels of a feature map or
    of all regions, so that every operator works on long contiguous memory.
    """
    from openvino import opset13 as ops

    last, bias, is_rectified = _followers(convolution)
    source = convolution.input_value(0)
    images, *sizes = source.get_partial_shape()
    channels, height, width = (size.get_length() for size in sizes)
    are_regions = images.is_dynamic
    count = 1 if are_regions else images.get_length()
    to_last, to_first = ((2, 3, 0, 1), (2, 3, 0, 1)) if are_regions else ((0, 2, 3, 1), (0, 3, 1, 2))

    values = ops.reshape(_transposed(source, to_last), _integers(count, height, width, -1), False)
    inputs, outputs, padding = _positions(count, height, width)
    values = ops.pad(values, _integers(0, 1, 1, 0), _integers(0, *padding, 0), "constant", np.float32(0))
    values = ops.reshape(values, _integers(count * (height + 1 + padding[0]) * (width + 1 + padding[1]), -1), False)
    values = ops.gather(values, inputs, np.int64(0))
    values = _product(_PATCHES, values)
    values = ops.matmul(ops.reshape(values, _integers(_PATCH**2, -1, channels), False), filters, False, True)
    values = _product(_TILES, values)
    values = ops.reshape(values, _integers(_TILE**2 * (len(inputs) // _PATCH**2), -1), False)
    values = ops.gather(values, outputs, np.int64(0))
    shape = (height, width, -1) if are_regions else (count, height, width)
    values = ops.reshape(values, _integers(*shape, filters.data.shape[1]), False)
    if bias is not None:
        values = ops.add(values, ops.constant(bias.reshape(1, 1, 1, -1)))
    if is_rectified:
        values = ops.relu(values)
    channels_first = ops.transpose(values, _integers(*to_first)).output(0)
    for reader in list(last.output(0).get_target_inputs()):
        if _order(reader.get_node()) == to_last:
            for target in list(reader.get_node().output(0).get_target_inputs()):
                target.replace_source_output(values.output(0))
        else:
            reader.replace_source_output(channels_first)


def _transposed(source: Any, order: tuple[int, ...]) -> Any:
    """A value (N, C, h, w) with its axes in another order, without undoing what `_replace` has done."""
    from openvino import opset13 as ops

    node = source.get_node()
    before = _order(node)
    if before is not None and [before[axis] for axis in order] == [0, 1, 2, 3]:
        return node.input_value(0)
    return ops.transpose(source, _integers(*order))


def _order(node: Any) -> tuple[int, ...] | None:
    """The order of a transpose's axes; None for other operators."""
    return tuple(node.input_value(1).get_node().data.tolist()) if node.get_type_name() == "Transpose" else None


def _followers(convolution: Any) -> tuple[Any, Floats | None, bool]:
    """The last node of a convolution, its bias and its ReLU; the bias (K,); whether there is a ReLU."""
    add = _only_reader(convolution, "Add")
    bias = None if add is None else add.input_value(1).get_node()
    channels = convolution.get_output_partial_shape(0)[1].get_length()
    if bias is None or bias.get_type_name() != "Constant" or bias.data.shape != (1, channels, 1, 1):
        return convolution, None, False
    relu = _only_reader(add, "Relu")
    return (add, bias.data, False) if relu is None else (relu, bias.data, True)


def _only_reader(node: Any, kind: str) -> Any | None:
    readers = [target.get_node() for target in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 and readers[0].get_type_name() == kind else None


def _positions(count: int, height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[int, int]]:
    """Where each patch takes its inputs, and each position its output.

    Args:
        count: number of feature maps.
        height, width: of each, positions.

    Returns:
        inputs: int32 (36 * T,), rows of the padded maps, one after the other, by place in the patch and by tile.
        outputs: int32 (count * height * width,), rows of the tiles' outputs, ordered by place in the tile and by tile.
        padding: rows and columns of zeros after each map, beside one before it.
    """
    rows, columns = math.ceil(height / _TILE), math.ceil(width / _TILE)
    padding = _TILE * rows - height + 1, _TILE * columns - width + 1
    image, row, column = np.ogrid[:count, :rows, :columns]
    place_y, place_x = (place[..., None, None, None] for place in np.ogrid[:_PATCH, :_PATCH])
    padded_height, padded_width = height + 1 + padding[0], width + 1 + padding[1]
    y, x = _TILE * row + place_y, _TILE * column + place_x
    inputs = (image * padded_height + y) * padded_width + x
    image, y, x = np.ogrid[:count, :height, :width]
    tile = (image * rows + y // _TILE) * columns + x // _TILE
    outputs = (y % _TILE * _TILE + x % _TILE) * (count * rows * columns) + tile
    return inputs.ravel().astype(np.int32), outputs.ravel().astype(np.int32), padding


def _product(transform: NDArray[Any], values: Any) -> Any:
    """Transform both axes of patches or tiles, of which `values` has all first places, then all second ones, …"""
    from openvino import opset13 as ops

    square = np.kron(transform, transform).astype(np.float32)
    values = ops.reshape(values, _integers(square.shape[1], -1), False)
    return ops.matmul(ops.constant(square), values, False, False)


def _integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)
