"""Rewrites the exported graphs, and int8 ones from NNCF, for the speed of OpenVINO's CPU plugin; results stay the same.

Shape letters: B images; h, w rows and columns of a level; C channels; n regions of a level; N regions of all levels; S
samples per side.

Measured on two cores with AVX-512 VNNI and OpenVINO 2026.4:

- Pooling 250 regions of 256 channels takes 62 ms from channels-first feature maps and 10 ms, including the conversion,
  from channels-last maps. The plugin takes the layout from the preceding operator, and the only operator without effect
  that requests channels-last is a depthwise convolution. In bfloat16 it returns to channels-first, so pooling is
  compiled separately, in float32.
- Concatenating 1000 regions of 256 channels takes 8 ms, so each level is pooled directly into its rows of the result.
- Pooling and quantizing 850 regions of 256 channels takes 18 ms, and 11 ms in 8 pieces, each quantized while it is in
  the cache. A piece costs up to 0.05 ms, even if it is empty.
- Softmax over the two classes of 147,312 anchors takes 3.6 ms, and 0.5 ms as elementary operations.
- An int8 convolution with 512 filters on 144 x 256 positions takes 180 ms, two halves with 256 filters take 50 ms each.
- An int8 product of 1000 x 12544 and 12544 x 1024 takes 50 ms, four products with a quarter of the 12544 each 33 ms in
  total.
- Pooling 1000 regions takes 9 ms less with int8 outputs: it writes a quarter of the memory, which is read once less.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from mrcnn.network.constants import PYRAMID, STEM

POOLED = "pooled"
"""Name of the pooled regions, the output of pooling and input of the rest of a head."""

_TO_CHANNELS_LAST = (0, 2, 3, 1)
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


def split_stem(features: Any) -> tuple[Any | None, Any]:
    """Split the part `features` into its stem and its body.

    Args:
        features: the part; it must not be used afterwards.

    Returns:
        stem: images to STEM (B, h, w, C); None if the part has no tensor STEM, and `body` takes the images.
        body: STEM to p2 … p5 (B, h, w, C), which is their layout in memory anyway, and to the RPN's outputs.
    """
    from openvino import Model

    inputs = features.get_parameters()
    marked = [output for node in features.get_ops() for output in node.outputs() if STEM in output.get_names()]
    stem = None
    if marked:
        end = marked[0]
        readers = list(end.get_target_inputs())
        stem = Model([_result(_channels_last(end), STEM)], inputs, STEM)
        parameter, channels_first = _channels_last_input(STEM, end.get_partial_shape())
        for reader in readers:
            reader.replace_source_output(channels_first)
        inputs = [parameter]
    results = []
    for output in features.outputs:
        name, source = output.get_any_name(), output.get_node().input_value(0)
        results.append(_result(_channels_last(source) if name in PYRAMID else source, name))
    return stem, Model(results, inputs, "body")


def join_stem(stem: Any, body: Any) -> Any:
    """What `split_stem` split, as one model: the stem's inputs to the body's outputs; neither must be used afterwards."""
    from openvino import Model

    end = stem.output(STEM).get_node().input_value(0)
    for reader in list(body.input(STEM).get_target_inputs()):
        reader.replace_source_output(end)
    return Model(body.get_results(), stem.get_parameters(), "features")


def split_pooling(head: Any, pieces: int = 1) -> tuple[dict[int, Any], Any]:
    """Split a head (`boxes` or `masks`) into the pooling of each level and the rest.

    Args:
        head: the part; it must not be used afterwards.
        pieces: number of pieces in which each level's regions are pooled, one after the other; pieces may be empty.

    Returns:
        pooling: models by level, in ascending order: p{level} (B, h, w, C) and, named by `piece_name` for each piece,
            windows{level} (n, 4) and images{level} (n,) to POOLED (n, C, S, S).
        rest: POOLED (N, C, S, S) and the head's other inputs to the head's outputs.
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


def pad_in_pooling(features: Any) -> None:
    """Let max pooling pad what a ReLU gives, instead of an operator that adds zeros before it; in place.

    3 ms less at 768 x 1344. Results are the same to the bit: a zero changes no maximum of values that are 0 or more.
    """
    from openvino import opset13 as ops

    for pool in [node for node in features.get_ops() if node.get_type_name() == "MaxPool"]:
        settings, pad = pool.get_attributes(), pool.input_value(0).get_node()
        is_padded = settings["auto_pad"].startswith("same") or any(settings["pads_begin"] + settings["pads_end"])
        pads = None if is_padded else _zeros_around_relu(pad)
        if pads is None or np.any(np.array(pads) >= settings["kernel"]):  # padding alone has no maximum
            continue
        steps, window = (settings["strides"], settings["dilations"]), (settings["kernel"], settings["rounding_type"])
        padded = ops.max_pool(pad.input_value(0), *steps, *pads, *window).output(0)
        for target in list(pool.output(0).get_target_inputs()):
            target.replace_source_output(padded)
        padded.get_tensor().set_names(pool.output(0).get_names())
    features.validate_nodes_and_infer_types()


def _zeros_around_relu(pad: Any) -> tuple[list[int], list[int]] | None:
    """(rows, columns) of zeros before and after the result of a ReLU; None if the node adds anything else."""
    if pad.get_type_name() != "Pad" or pad.get_attributes()["pad_mode"] != "constant":
        return None
    source, *others = (value.get_node() for value in pad.input_values())
    if source.get_type_name() != "Relu" or any(other.get_type_name() != "Constant" for other in others):
        return None
    begin, end, *value = (other.data for other in others)
    is_inside = not (begin[:2].any() or end[:2].any()) and min(begin.min(), end.min()) >= 0
    return (begin[2:].tolist(), end[2:].tolist()) if is_inside and not np.any(value) else None


def write_out_softmax(proposals: Any) -> None:
    """Replace the softmax that computes the anchors' scores by elementary operations, in place.

    The results are the same to the bit, except for scores below 1e-37.

    Args:
        proposals: the part; only a softmax over two classes of which nothing but the second is read is replaced.
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
    index, axis = (node.input_value(number).get_node() for number in (1, 2))
    constant = all(value.get_type_name() == "Constant" for value in (index, axis))
    return constant and (int(index.data), int(axis.data)) == (1, 1)


def piece_name(name: str, piece: int) -> str:
    """Name of a pooling model's input or output for one of the pieces."""
    return f"{name}.{piece}"


def _level_inputs(level: int) -> tuple[str, str, str]:
    return f"p{level}", f"windows{level}", f"images{level}"


def _in_pieces(pool: Any, level: int, pieces: int) -> Any:
    from openvino import Model
    from openvino import opset13 as ops

    level_name, *regions = _level_inputs(level)
    parameter, feature_map = _convolved_input(level_name, pool.input_value(0).get_partial_shape())
    inputs, results = [parameter], []
    for piece in range(pieces):
        region_inputs = []
        for name, source in zip(regions, pool.input_values()[1:], strict=True):
            shape, element_type = source.get_partial_shape(), source.get_element_type()
            region_inputs.append(_input(piece_name(name, piece), shape, element_type))
        pooled = ops.roi_align(feature_map, *region_inputs, **pool.get_attributes())
        inputs += region_inputs
        results.append(_result(pooled.output(0), piece_name(POOLED, piece)))
    return Model(results, inputs, f"pooling{level}")


def _input(name: str, shape: Any, element_type: Any = np.float32) -> Any:
    from openvino import opset13 as ops

    parameter = ops.parameter(shape, element_type)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _channels_last_input(name: str, channels_first_shape: Any) -> tuple[Any, Any]:
    """An input (B, h, w, C), and its transpose (B, C, h, w)."""
    from openvino import opset13 as ops

    batch, channels, rows, columns = channels_first_shape
    parameter = _input(name, [batch, rows, columns, channels])
    return parameter, ops.transpose(parameter, np.array(_TO_CHANNELS_FIRST)).output(0)


def _convolved_input(name: str, channels_first_shape: Any) -> tuple[Any, Any]:
    """An input (B, h, w, C), and its transpose (B, C, h, w) after an identity convolution."""
    from openvino import opset13 as ops

    parameter, channels_first = _channels_last_input(name, channels_first_shape)
    identity = ops.constant(np.ones((channels_first_shape[1].get_length(), 1, 1, 1, 1), np.float32))
    return parameter, ops.group_convolution(channels_first, identity, [1, 1], [0, 0], [0, 0], [1, 1])


def _channels_last(channels_first: Any) -> Any:
    from openvino import opset13 as ops

    return ops.transpose(channels_first, np.array(_TO_CHANNELS_LAST)).output(0)


def _result(source: Any, name: str) -> Any:
    from openvino import opset13 as ops

    result = ops.result(source)
    result.output(0).get_tensor().set_names({name})
    return result


SPLIT_FILTERS = 512
SPLIT_POSITIONS = 20_000
"""A convolution is split into halves if it has at least this many filters and its output this many positions."""

SPLIT_TERMS = 8192
SPLIT_INTO = 4
"""A matrix product is split into this many products if its sums have at least SPLIT_TERMS terms."""

_INT8_MIN, _INT8_MAX = -128, 127
_QUANTIZATION_LEVELS = 256


def halve_wide_convolutions(body: Any) -> None:
    """Split convolutions with many filters on large feature maps into two halves, in place.

    Args:
        body: a model from NNCF (weights are int8 constants times a scale per filter) with static shapes; dynamic
            convolutions are left as they are.
    """
    for convolution in list(body.get_ops()):
        shape = convolution.get_output_partial_shape(0) if convolution.get_type_name() == "Convolution" else None
        if shape is None or shape.is_dynamic or shape[1].get_length() < SPLIT_FILTERS:
            continue
        following = _bias_and_quantizer(convolution)
        if following and shape[2].get_length() * shape[3].get_length() >= SPLIT_POSITIONS:
            _halve(convolution, *following)
    body.validate_nodes_and_infer_types()


def _bias_and_quantizer(convolution: Any) -> tuple[Any, Any] | None:
    """Bias and quantizer of a convolution followed by a bias, a ReLU and a quantizer; None for any other pattern."""
    following, node = [], convolution
    for kind in ("Add", "Relu", "FakeQuantize"):
        readers = [target.get_node() for target in node.output(0).get_target_inputs()]
        readers = [reader for reader in readers if reader.get_type_name() != "ShapeOf"]
        if len(readers) != 1 or readers[0].get_type_name() != kind:
            return None
        node = readers[0]
        following.append(node)
    add, _, quantizer = following
    return (add.input_value(1), quantizer) if _has_int8_weights(convolution) else None


def _has_int8_weights(node: Any) -> bool:
    weights = node.input_value(1).get_node()
    return bool(
        weights.get_type_name() == "Multiply" and weights.input_value(0).get_node().get_type_name() == "Convert"
    )


def _halve(convolution: Any, bias: Any, quantizer: Any) -> None:
    from openvino import opset13 as ops

    product = convolution.input_value(1).get_node()
    weights = product.input_value(0).get_node().input_value(0).get_node().data
    scales = product.input_value(1).get_node().data
    settings, halves = convolution.get_attributes(), []
    settings = [settings[name] for name in ("strides", "pads_begin", "pads_end", "dilations")]
    for low, high in ((0, len(weights) // 2), (len(weights) // 2, len(weights))):
        kernel = ops.convert(ops.constant(np.ascontiguousarray(weights[low:high])), "f32")
        kernel = ops.multiply(kernel, ops.constant(np.ascontiguousarray(scales[low:high])))
        half = ops.convolution(convolution.input_value(0), kernel, *settings)
        half = ops.relu(ops.add(half, ops.slice(bias, [low], [high], [1], [1])))
        limits = [quantizer.input_value(index) for index in range(1, 5)]
        halves.append(ops.fake_quantize(half, *limits, quantizer.get_attributes()["levels"]))
    joined = ops.concat(halves, 1).output(0)
    for reader in list(quantizer.output(0).get_target_inputs()):
        reader.replace_source_output(joined)


def take_int8_regions(head: Any, name: str) -> float | None:
    """Make a head take its regions as int8 instead of quantizing them itself, in place.

    Args:
        head: a model from NNCF.
        name: name of the input.

    Returns:
        The quantization scale (value of one int8 step); None if the head does not begin with a symmetric quantizer of
        256 levels and is left as it is.
    """
    from openvino import opset13 as ops

    old = next(parameter for parameter in head.get_parameters() if name in parameter.output(0).get_names())
    readers = [target.get_node() for target in old.output(0).get_target_inputs()]
    scale = _symmetric_scale(readers[0]) if len(readers) == 1 else None
    if scale is None:
        return None
    new = ops.parameter(old.get_partial_shape(), np.int8)
    values = ops.multiply(ops.convert(new, "f32"), ops.constant(np.float32(scale))).output(0)
    for target in list(readers[0].output(0).get_target_inputs()):
        target.replace_source_output(values)
    head.remove_parameter(old)
    head.add_parameters([new])
    new.output(0).get_tensor().set_names({name})
    head.validate_nodes_and_infer_types()
    return scale


def _symmetric_scale(node: Any) -> float | None:
    if node.get_type_name() != "FakeQuantize" or node.get_attributes()["levels"] != _QUANTIZATION_LEVELS:
        return None
    limits = [node.input_value(index).get_node().data for index in range(1, 5)]
    if any(limit.size != 1 for limit in limits):
        return None
    low, high, low_out, high_out = (float(limit.item()) for limit in limits)
    scale = high / _INT8_MAX
    is_symmetric = np.isclose([low, low_out, high_out], [_INT8_MIN * scale, low, high], rtol=1e-4).all()
    return scale if scale > 0 and is_symmetric else None


def give_int8_regions(pooling: Any, scale: float) -> None:
    """Make a model that pools regions return them as int8, in place.

    Args:
        pooling: a model whose outputs are all float32 regions.
        scale: the quantization scale (value of one int8 step).
    """
    from openvino import opset13 as ops

    low, high = (np.float32(limit * scale) for limit in (_INT8_MIN, _INT8_MAX))
    names = [output.get_names() for output in pooling.outputs]
    for result in pooling.get_results():
        end = result.input(0)
        quantized = ops.fake_quantize(
            end.get_source_output(), low, high, np.float32(_INT8_MIN), np.float32(_INT8_MAX), _QUANTIZATION_LEVELS
        )
        end.replace_source_output(ops.convert(quantized, "i8").output(0))
    pooling.validate_nodes_and_infer_types()
    for output, kept in zip(pooling.outputs, names, strict=True):
        output.get_tensor().set_names(kept)


def split_long_products(head: Any) -> None:
    """Split matrix products with long sums into several shorter products, in place.

    Args:
        head: a model from NNCF (weights are int8 constants (terms, outputs) times a scale per output).
    """
    for product in list(head.get_ops()):
        if product.get_type_name() == "MatMul" and _is_long(product):
            _split(product)
    head.validate_nodes_and_infer_types()


def _is_long(product: Any) -> bool:
    settings, weights = product.get_attributes(), product.input_value(1).get_node()
    if settings["transpose_a"] or settings["transpose_b"] or not _has_int8_weights(product):
        return False
    shape = weights.get_output_partial_shape(0)
    return len(shape) == 2 and shape[0].get_length() >= SPLIT_TERMS and weights.input_value(1).get_shape()[0] == 1


def _split(product: Any) -> None:
    from openvino import opset13 as ops

    scaled = product.input_value(1).get_node()
    weights = scaled.input_value(0).get_node().input_value(0).get_node().data
    scales = scaled.input_value(1).get_node().data
    parts = []
    for rows in np.array_split(np.arange(len(weights)), SPLIT_INTO):
        low, high = int(rows[0]), int(rows[-1]) + 1
        kernel = ops.convert(ops.constant(np.ascontiguousarray(weights[low:high])), "f32")
        kernel = ops.multiply(kernel, ops.constant(np.ascontiguousarray(scales)))
        terms = ops.slice(product.input_value(0), [low], [high], [1], [1])
        parts.append(ops.matmul(terms, kernel, False, False))
    total = functools.reduce(ops.add, parts)
    for target in list(product.output(0).get_target_inputs()):
        target.replace_source_output(total.output(0))
