"""Rearranges the exported graphs for OpenVINO's CPU plugin; what they compute stays the same.

Measured on two cores with AVX-512: OpenVINO 2026.4 pools 250 regions of 256 channels in 62 ms from feature maps that
lie channel by channel, and in 10 ms, the way there included, from maps that lie place by place. It takes the layout
from the operator before, and of those that change nothing only a depthwise convolution asks for that layout. In
bfloat16 it goes back to the slow one, so that pooling is compiled by itself, in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PYRAMID = ("p2", "p3", "p4", "p5")
POOLED = "pooled"
_PLACES_FIRST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


def give_places_first(features: Any) -> Any:
    """The part `features` with p2 … p5 as (B, h, w, C) instead of (B, C, h, w): as they lie in memory anyway."""
    from openvino import Model
    from openvino import opset13 as ops

    results = []
    for output in features.outputs:
        name = output.get_any_name()
        source = output.get_node().input_value(0)
        if name in PYRAMID:
            source = ops.transpose(source, np.array(_PLACES_FIRST)).output(0)
        result = ops.result(source)
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    return Model(results, features.get_parameters(), "features")


def split_pooling(head: Any) -> tuple[Any, Any]:
    """A part that pools regions and then works on them (`boxes`, `masks`) as two models.

    Returns:
        pooling: p2 … p5 (B, h, w, C), windows and images to "pooled" (N, C, S, S).
        rest: "pooled", and whatever else the part takes, to what the part gives.
    """
    from openvino import Model
    from openvino import opset13 as ops

    pools = [node for node in head.get_ops() if node.get_type_name() == "ROIAlign"]
    joined = next(iter(pools[0].output(0).get_target_inputs())).get_node().output(0)
    pooled = ops.parameter(joined.get_partial_shape(), np.float32, name=POOLED)
    pooled.output(0).get_tensor().set_names({POOLED})
    for reader in joined.get_target_inputs():
        reader.replace_source_output(pooled.output(0))
    _put_places_first(pools, ops)

    def reaches_pooling(parameter: Any) -> bool:
        return parameter.output(0).get_any_name()[:-1] in ("p", "windows", "images")

    result = ops.result(joined)
    result.output(0).get_tensor().set_names({POOLED})
    levels = [pool.input_value(0).get_node().input_value(0).get_node().input_value(0).get_node() for pool in pools]
    others = [one for one in head.get_parameters() if one.output(0).get_any_name() not in PYRAMID]
    pooling = Model([result], [*levels, *(one for one in others if reaches_pooling(one))], "pooling")
    rest = Model(head.get_results(), [pooled, *(one for one in others if not reaches_pooling(one))], "rest")
    return pooling, rest


def _put_places_first(pools: list[Any], ops: Any) -> None:
    """Let every pooling read its level as (B, h, w, C), behind a convolution that changes nothing."""
    for pool in pools:
        level = pool.input_value(0).get_node()
        batch, channels, rows, columns = level.get_partial_shape()
        lying = ops.parameter([batch, rows, columns, channels], np.float32)
        lying.output(0).get_tensor().set_names(level.output(0).get_names())
        identity = ops.constant(np.ones((channels.get_length(), 1, 1, 1, 1), np.float32))
        planes = ops.transpose(lying, np.array(_CHANNELS_FIRST))
        unchanged = ops.group_convolution(planes, identity, [1, 1], [0, 0], [0, 0], [1, 1])
        pool.input(0).replace_source_output(unchanged.output(0))
