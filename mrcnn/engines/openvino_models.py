"""Rearranges the exported graphs for OpenVINO's CPU plugin; what they compute stays the same.

Legend: B images, h and w rows and columns of a level, C its channels, n regions of a level, N of all, S samples along
a side.

Measured on two cores with AVX-512 and OpenVINO 2026.4:

- It pools 250 regions of 256 channels in 62 ms from feature maps that lie channel by channel, and in 10 ms, the way
  there included, from maps that lie place by place. It takes the layout from the operator before, and of those that
  change nothing only a depthwise convolution asks for that layout. In bfloat16 it goes back to the slow one, so that
  pooling is compiled by itself, in float32.
- Joining 1000 regions of 256 channels takes 8 ms, so that each level is pooled by itself, straight into its place.
- 850 regions of 256 channels that are quantized once they are pooled take 18 ms, and 11 ms in 8 pieces, each quantized
  while it lies in the cache. A piece costs up to 0.05 ms, an empty one too.
- Softmax over the two classes of 147,312 anchors takes 3.6 ms, and 0.5 ms written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STEM = "stem"
LEVELS = (2, 3, 4, 5)
PYRAMID = ("p2", "p3", "p4", "p5")
POOLED = "pooled"

_PLACES_FIRST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


def split_stem(features: Any) -> tuple[Any | None, Any]:
    """The part `features` as two models: its first layers, and the rest.

    Args:
        features: the part; it is used up.

    Returns:
        stem: images to "stem" (B, h, w, C); None where no such place is marked: `body` takes the images then.
        body: "stem" to p2 … p5 (B, h, w, C), as they lie in memory anyway, and to the RPN's outputs.
    """
    from openvino import Model

    inputs = features.get_parameters()
    marked = [output for node in features.get_ops() for output in node.outputs() if STEM in output.get_names()]
    stem = None
    if marked:
        end = marked[0]
        readers = list(end.get_target_inputs())
        stem = Model([_result(_places_first(end), STEM)], inputs, STEM)
        lying, planes = _input_places_first(STEM, end.get_partial_shape())
        for reader in readers:
            reader.replace_source_output(planes)
        inputs = [lying]
    results = []
    for output in features.outputs:
        name, source = output.get_any_name(), output.get_node().input_value(0)
        results.append(_result(_places_first(source) if name in PYRAMID else source, name))
    return stem, Model(results, inputs, "body")


def split_pooling(head: Any, pieces: int = 1) -> tuple[dict[int, Any], Any]:
    """A part that pools regions and then works on them (`boxes`, `masks`), as models.

    Args:
        head: the part; it is used up.
        pieces: in so many each level's regions are pooled, one after the other. Some of them may be empty.

    Returns:
        pooling: for each level, in their order, p{level} (B, h, w, C) and, by `piece_name` for each piece,
            windows{level} (n, 4) and images{level} (n,) to "pooled" (n, C, S, S).
        rest: "pooled" (N, C, S, S), and whatever else the part takes, to what the part gives.
    """
    from openvino import Model

    pools = [node for node in head.get_ops() if node.get_type_name() == "ROIAlign"]
    joined = next(iter(pools[0].output(0).get_target_inputs())).get_node().output(0)
    pooled = _input(POOLED, joined.get_partial_shape())
    for reader in list(joined.get_target_inputs()):
        reader.replace_source_output(pooled.output(0))
    inputs = {parameter.output(0).get_any_name(): parameter for parameter in head.get_parameters()}
    pooling = {}
    for pool in pools:
        level = int(pool.input_value(1).get_any_name().removeprefix("windows"))
        pooling[level] = _in_pieces(pool, level, pieces)
        for name in _level_inputs(level):
            del inputs[name]
    pooling = dict(sorted(pooling.items()))
    return pooling, Model(head.get_results(), [pooled, *inputs.values()], "rest")


def write_out_softmax(proposals: Any) -> None:
    """Compute the anchors' scores step by step instead of by the softmax operator, in place: the same to the
    bit, but for scores below 1e-37.

    Args:
        proposals: the part; without a softmax over two classes of which the second alone is taken, nothing is done.
    """
    from openvino import opset13 as ops

    for softmax in [node for node in proposals.get_ops() if node.get_type_name() == "Softmax"]:
        logits = softmax.input_value(0)
        readers = [target.get_node() for target in softmax.output(0).get_target_inputs()]
        if logits.get_partial_shape()[1] != 2 or any(not _takes_second_column(reader) for reader in readers):
            continue
        background, foreground = (ops.gather(logits, np.int64(column), np.int64(1)) for column in (0, 1))
        greater = ops.maximum(background, foreground)
        background, foreground = (ops.exp(ops.subtract(logit, greater)) for logit in (background, foreground))
        scores = ops.divide(foreground, ops.add(background, foreground)).output(0)
        for reader in readers:
            for target in list(reader.output(0).get_target_inputs()):
                target.replace_source_output(scores)
    proposals.validate_nodes_and_infer_types()


def _takes_second_column(node: Any) -> bool:
    if node.get_type_name() != "Gather":
        return False
    index, axis = (node.input_value(place).get_node() for place in (1, 2))
    constant = all(value.get_type_name() == "Constant" for value in (index, axis))
    return constant and (int(index.data), int(axis.data)) == (1, 1)


def piece_name(name: str, piece: int) -> str:
    """What an input or output of a pooling is called for one of the pieces."""
    return f"{name}.{piece}"


def _level_inputs(level: int) -> tuple[str, str, str]:
    return f"p{level}", f"windows{level}", f"images{level}"


def _in_pieces(pool: Any, level: int, pieces: int) -> Any:
    from openvino import Model
    from openvino import opset13 as ops

    level_name, *regions = _level_inputs(level)
    lying, unchanged = _read_places_first(level_name, pool.input_value(0).get_partial_shape())
    inputs, results = [lying], []
    for piece in range(pieces):
        taken = []
        for name, source in zip(regions, pool.input_values()[1:], strict=True):
            taken.append(_input(piece_name(name, piece), source.get_partial_shape(), source.get_element_type()))
        pooled = ops.roi_align(unchanged, *taken, **pool.get_attributes())
        inputs += taken
        results.append(_result(pooled.output(0), piece_name(POOLED, piece)))
    return Model(results, inputs, f"pooling{level}")


def _input(name: str, shape: Any, element_type: Any = np.float32) -> Any:
    from openvino import opset13 as ops

    parameter = ops.parameter(shape, element_type)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _input_places_first(name: str, planes_shape: Any) -> tuple[Any, Any]:
    """An input (B, h, w, C), and it as (B, C, h, w)."""
    from openvino import opset13 as ops

    batch, channels, rows, columns = planes_shape
    lying = _input(name, [batch, rows, columns, channels])
    return lying, ops.transpose(lying, np.array(_CHANNELS_FIRST)).output(0)


def _read_places_first(name: str, planes_shape: Any) -> tuple[Any, Any]:
    """An input (B, h, w, C), and it as (B, C, h, w) behind a convolution that changes nothing."""
    from openvino import opset13 as ops

    lying, planes = _input_places_first(name, planes_shape)
    identity = ops.constant(np.ones((planes_shape[1].get_length(), 1, 1, 1, 1), np.float32))
    return lying, ops.group_convolution(planes, identity, [1, 1], [0, 0], [0, 0], [1, 1])


def _places_first(planes: Any) -> Any:
    from openvino import opset13 as ops

    return ops.transpose(planes, np.array(_PLACES_FIRST)).output(0)


def _result(source: Any, name: str) -> Any:
    from openvino import opset13 as ops

    result = ops.result(source)
    result.output(0).get_tensor().set_names({name})
    return result
