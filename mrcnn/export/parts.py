"""Exports the network as four ONNX models, between which an engine decodes and orders boxes on the host.

Shape letters: B images; H, W canvas height and width in pixels; A anchors; N regions; K classes including the
background; C channels of the pyramid; S side of a mask.

- `features`: canvas -> P2 … P5, RPN class logits and deltas. Most of the computation; may run in any precision.
- `proposals`: RPN outputs of one image -> regions, highest score first. Always float32.
- `boxes`: P2 … P5 and regions -> class probabilities and deltas.
- `masks`: P2 … P5, regions and their classes -> mask probabilities of those classes.

The heads take regions as the windows that ONNX's RoiAlign reads, computed on the host in float32
(`mrcnn.engines.graph_engine`): one input per level, so that every region is pooled from its own level only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from mrcnn.architecture import architecture_of
from mrcnn.config import Config
from mrcnn.export.layers import Tensor, translate
from mrcnn.export.onnx_graph import Graph
from mrcnn.network.backbones import STEM_ENDS
from mrcnn.network.constants import LEVELS, PART_NAMES, STEM
from mrcnn.network.folding import inference_copy
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.proposals import LARGEST_LOGIT

DEAD = -1.0
"""Score of a region that must not be kept; valid scores are 0 or more."""


def export_parts(network: MaskRCNNNetwork) -> dict[str, onnx.ModelProto]:
    """Export a network and its weights, with batch normalization folded into convolutions.

    Returns:
        The models by name, see PART_NAMES.

    Raises:
        ExportError: the network has a layer that cannot be written.
    """
    network = inference_copy(network)
    models = (
        export_features(network),
        export_proposals(network.config),
        export_boxes(network),
        export_masks(network),
    )
    return dict(zip(PART_NAMES, models, strict=True))


def export_features(network: MaskRCNNNetwork) -> onnx.ModelProto:
    """Export backbone, pyramid and RPN.

    Inputs: images uint8 (B, H, W, 3), RGB; where the architecture pads after the mean has been subtracted, also windows
    int64 (B, 4), (y1, x1, y2, x2) in pixels, the part of each canvas that its image covers. Outputs: p2 … p5 float32
    (B, C, h, w); rpn_class_logits (B, A, 2); rpn_deltas (B, A, 4). The tensor STEM is the output of the stem
    (`mrcnn.network.backbones.STEM_ENDS`).
    """
    graph = Graph("features")
    images = graph.input("images", "uint8", ("B", "H", "W", 3))
    planes = graph.add("Transpose", images, perm=[0, 3, 1, 2])
    mean = np.asarray(network.config.MEAN_PIXEL, np.float32).reshape(-1, 1, 1)
    centered = graph.add("Sub", graph.add("Cast", planes, to=onnx.TensorProto.FLOAT), graph.constant(mean))
    if architecture_of(network.config).padding_after_mean:
        centered = graph.add("Mul", centered, _window_mask(graph, images))
    backbone = network.config.BACKBONE
    names = {} if callable(backbone) or backbone not in STEM_ENDS else {STEM_ENDS[backbone]: STEM}
    outputs = translate(network.features, [Tensor(centered, 4, 3)], graph, names)
    *pyramid, class_logits, deltas = outputs
    for level, tensor in zip(LEVELS, pyramid, strict=False):
        graph.output(tensor.name, f"p{level}", "float32", ("B", tensor.channels, f"h{level}", f"w{level}"))
    graph.output(class_logits.name, "rpn_class_logits", "float32", ("B", "A", 2))
    graph.output(deltas.name, "rpn_deltas", "float32", ("B", "A", 4))
    return graph.model()


def _window_mask(graph: Graph, images: str) -> str:
    """1 inside of each image's window, 0 outside: float32 (B, 1, H, W)."""
    windows = graph.input("windows", "int64", ("B", 4))
    low_y, low_x, high_y, high_x = (
        graph.add("Reshape", column, graph.integers(-1, 1, 1, 1))
        for column in graph.add_many("Split", (windows, graph.integers(1, 1, 1, 1)), 4, axis=1)
    )
    shape = graph.add("Shape", images)
    inside = []
    for axis, low, high, column in ((1, low_y, high_y, (1, 1, -1, 1)), (2, low_x, high_x, (1, 1, 1, -1))):
        size = graph.add("Gather", shape, graph.constant(axis, "int64"))
        positions = graph.add("Range", graph.constant(0, "int64"), size, graph.constant(1, "int64"))
        positions = graph.add("Reshape", positions, graph.integers(*column))
        inside += [graph.add("GreaterOrEqual", positions, low), graph.add("Less", positions, high)]
    rows, columns = graph.add("And", *inside[:2]), graph.add("And", *inside[2:])
    return graph.add("Cast", graph.add("And", rows, columns), to=onnx.TensorProto.FLOAT)


def export_proposals(config: Config) -> onnx.ModelProto:
    """Export the selection of one image's region proposals from its anchors; see `mrcnn.network.proposals`.

    Anchors compete in groups: all of them, or those of each pyramid level, by architecture.

    Inputs: rpn_class_logits float32 (A, 2); rpn_deltas (A, 4); anchors (A, 4), normalized; starts and ends, int64 (G,):
    the anchors of each group; window float32 (4,), normalized: what regions are clipped to; smallest (2,): height and
    width below which a region is dropped, normalized; limit and count, int64 (1,): the maximum number of anchors of a
    group that enter suppression, and of regions. Output: rois float32 (N, 4), normalized (y1, x1, y2, x2), highest
    score first.
    """
    architecture = architecture_of(config)
    graph = Graph("proposals")
    groups = len(config.BACKBONE_STRIDES) if architecture.proposals_per_level else 1
    logits = graph.input("rpn_class_logits", "float32", ("A", 2))
    rpn_deltas, anchors = (graph.input(name, "float32", ("A", 4)) for name in ("rpn_deltas", "anchors"))
    starts, ends = (graph.input(name, "int64", (groups,)) for name in ("starts", "ends"))
    window = graph.input("window", "float32", (4,))
    smallest = graph.input("smallest", "float32", (2,))
    limit = graph.input("limit", "int64", (1,))
    count = graph.input("count", "int64", (1,))

    all_scores = _anchor_scores(graph, logits, config)
    std_dev = graph.constant(np.asarray(config.RPN_BBOX_STD_DEV, np.float32))
    rois, scores = [], []
    for group in range(groups):
        start, end = (graph.add("Gather", bounds, graph.integers(group)) for bounds in (starts, ends))
        most = graph.add("Min", limit, graph.add("Sub", end, start))
        best_scores, best = graph.add_many("TopK", (graph.add("Slice", all_scores, start, end), most), 2, axis=0)
        best = graph.add("Add", best, start)
        deltas = graph.add("Mul", graph.add("Gather", rpn_deltas, best, axis=0), std_dev)
        boxes = graph.add("Gather", anchors, best, axis=0)
        boxes = _clipped(graph, _decode(graph, boxes, deltas, architecture.max_log_scale), window)
        best_scores = graph.add("Where", _is_large(graph, boxes, smallest), best_scores, graph.constant([DEAD]))
        chosen = graph.add(
            "NonMaxSuppression",
            graph.add("Unsqueeze", boxes, graph.integers(0)),
            graph.add("Unsqueeze", best_scores, graph.integers(0, 1)),
            count,
            graph.constant([float(config.RPN_NMS_THRESHOLD)]),
            graph.constant([DEAD / 2]),
        )
        indices = graph.add("Gather", chosen, graph.constant(2, "int64"), axis=1)
        rois.append(graph.add("Gather", boxes, indices, axis=0))
        scores.append(graph.add("Gather", best_scores, indices, axis=0))
    found = rois[0]
    if groups > 1:
        found, found_scores = graph.add("Concat", *rois, axis=0), graph.add("Concat", *scores, axis=0)
        most = graph.add("Min", count, graph.add("Shape", found_scores))
        found = graph.add("Gather", found, graph.add_many("TopK", (found_scores, most), 2, axis=0)[1], axis=0)
    graph.output(found, "rois", "float32", ("N", 4))
    return graph.model()


def _anchor_scores(graph: Graph, logits: str, config: Config) -> str:
    """Write `mrcnn.network.proposals.anchor_scores` as nodes: logits (A, 2) to scores (A,)."""
    if not architecture_of(config).proposals_per_level:
        return graph.add("Gather", graph.add("Softmax", logits, axis=-1), graph.constant(1, "int64"), axis=1)
    background, foreground = (graph.add("Gather", logits, graph.constant(column, "int64"), axis=1) for column in (0, 1))
    difference = graph.add("Sub", foreground, background)
    return graph.add("Exp", graph.add("Min", difference, graph.constant(LARGEST_LOGIT)))


def _clipped(graph: Graph, boxes: str, window: str) -> str:
    """Boxes (N, 4) clipped to a window (4,)."""
    low, high = graph.add_many("Split", (window, graph.integers(2, 2)), 2, axis=0)
    low, high = (graph.add("Concat", corner, corner, axis=0) for corner in (low, high))
    return graph.add("Min", graph.add("Max", boxes, low), high)


def _is_large(graph: Graph, boxes: str, smallest: str) -> str:
    """Whether neither side of a box is shorter than smallest (2,): bool (N,)."""
    corner, opposite = graph.add_many("Split", (boxes, graph.integers(2, 2)), 2, axis=1)
    excess = graph.add("Sub", graph.add("Sub", opposite, corner), smallest)
    least = graph.add("ReduceMin", excess, axes=[1], keepdims=0)
    return graph.add("GreaterOrEqual", least, graph.constant(0.0))


def export_boxes(network: MaskRCNNNetwork) -> onnx.ModelProto:
    """Export pooling and box head.

    Inputs: p2 … p5 (B, C, h, w); for each level windows{level} float32 (n, 4) and images{level} int64 (n,), see
    `mrcnn.engines.graph_engine.RegionsByLevel`. Outputs, with regions ordered by level: class_probs (N, K); deltas
    (N, K, 4).
    """
    graph = Graph("boxes")
    size = int(network.config.POOL_SIZE)
    pooled = _pool(graph, network, size)
    logits, deltas = translate(network.box_head, [pooled], graph)
    classes = logits.channels
    graph.output(graph.add("Softmax", logits.name, axis=-1), "class_probs", "float32", ("N", classes))
    graph.output(deltas.name, "deltas", "float32", ("N", classes, 4))
    return graph.model()


def export_masks(network: MaskRCNNNetwork) -> onnx.ModelProto:
    """Export pooling and mask head, which only computes the mask of each region's class.

    Inputs: those of the box head, and class_ids int64 (N,). Output, with regions ordered by level: mask_probs float32
    (N, S, S), S = 2 * MASK_POOL_SIZE.
    """
    graph = Graph("masks")
    config, head = network.config, network.mask_head
    class_ids = graph.input("class_ids", "int64", ("N",))
    pooled = _pool(graph, network, int(config.MASK_POOL_SIZE))
    last = head.get_layer("mrcnn_mask")
    before = keras.Model(head.inputs, last.input, name="mask_head_before_classes")
    features = translate(before, [pooled], graph)[0]

    side = 2 * int(config.MASK_POOL_SIZE)
    kernel = keras.ops.convert_to_numpy(last.kernel)[0, 0].T  # (K, width)
    bias = keras.ops.convert_to_numpy(last.bias)
    width = kernel.shape[1]
    own_kernel = graph.add("Gather", graph.constant(kernel), class_ids, axis=0)
    own_kernel = graph.add("Reshape", own_kernel, graph.integers(-1, 1, width))
    flat = graph.add("Reshape", features.name, graph.integers(-1, width, side * side))
    own_bias = graph.add("Gather", graph.constant(bias), class_ids, axis=0)
    logits = graph.add(
        "Add",
        graph.add("MatMul", own_kernel, flat),
        graph.add("Reshape", own_bias, graph.integers(-1, 1, 1)),
    )
    probs = graph.add("Reshape", graph.add("Sigmoid", logits), graph.integers(-1, side, side))
    graph.output(probs, "mask_probs", "float32", ("N", side, side))
    return graph.model()


def _pool(graph: Graph, network: MaskRCNNNetwork, size: int) -> Tensor:
    """Pool regions from their levels: (N, C, size, size), ordered by level."""
    channels = int(network.config.TOP_DOWN_PYRAMID_SIZE)
    architecture = architecture_of(network.config)
    samples = 1 if architecture.roi_samples is None else architecture.roi_samples
    is_shifted = architecture.roi_samples is None or architecture.roi_offset == 0.5
    mode = "half_pixel" if is_shifted else "output_half_pixel"
    options: dict[str, Any] = {"output_height": size, "output_width": size, "mode": "avg", "spatial_scale": 1.0}
    options |= {"sampling_ratio": samples, "coordinate_transformation_mode": mode}
    pooled = []
    for level in LEVELS:
        feature_map = graph.input(f"p{level}", "float32", ("B", channels, f"h{level}", f"w{level}"))
        windows = graph.input(f"windows{level}", "float32", (f"n{level}", 4))
        images = graph.input(f"images{level}", "int64", (f"n{level}",))
        pooled.append(graph.add("RoiAlign", feature_map, windows, images, **options))
    return Tensor(graph.add("Concat", *pooled, axis=0), 4, channels, (size, size))


def _decode(graph: Graph, boxes: str, deltas: str, max_log_scale: float) -> str:
    """Write `mrcnn.network.box_coding.decode_deltas` as nodes: boxes (N, 4) and deltas (N, 4) to boxes (N, 4)."""
    corner, opposite = graph.add_many("Split", (boxes, graph.integers(2, 2)), 2, axis=1)
    shift, log_scale = graph.add_many("Split", (deltas, graph.integers(2, 2)), 2, axis=1)
    half, limit = graph.constant(0.5), graph.constant(max_log_scale)
    size = graph.add("Sub", opposite, corner)
    center = graph.add("Add", graph.add("Add", corner, graph.add("Mul", size, half)), graph.add("Mul", shift, size))
    scaled = graph.add("Mul", size, graph.add("Exp", graph.add("Min", log_scale, limit)))
    low = graph.add("Sub", center, graph.add("Mul", scaled, half))
    return graph.add("Concat", low, graph.add("Add", low, scaled), axis=1)


def write_parts(weights: Path, config: Config, folder: Path) -> None:
    """Build the network in Keras, on any backend, load the weights and write NAME.onnx for each part.

    Args:
        weights: a weight file, see `mrcnn.weights.load_save`.
        config: settings of its network.
        folder: an existing folder for the files.

    Raises:
        WeightsError: the weights do not match the network.
        ExportError: the network has a layer that cannot be written.
        OSError: a file cannot be written.
    """
    import onnx

    from mrcnn.export.parts import export_parts
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.weights.load_save import load_weights

    network = MaskRCNNNetwork(config)
    load_weights(network, weights)
    for name, model in export_parts(network).items():
        onnx.save(model, folder / f"{name}.onnx")
