"""What networks and engines compute of the cases of torchvision_reference.py, and the comparison of every stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.engines.base import Engine
from mrcnn.engines.graph_engine import GraphEngine, Runtime, proposal_inputs
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.engines.onnx_runtime import OnnxRuntime
from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime
from mrcnn.export.parts import export_parts
from mrcnn.network.anchors import boxes_in_pixels, normalize_boxes
from mrcnn.network.compiled import compile_function
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.conversion import convert
from mrcnn.weights.stored_tensor import Span, Storage, Tensor, packed_strides
from tests.mrcnn.exporting import save_parts
from tests.mrcnn.torchvision_reference import (
    LARGEST_DIFFERENCE,
    Found,
    Reference,
    compare_detections,
    compare_proposals,
)

ENGINES = ("keras", "openvino", "onnx")

REFERENCE_CONFIDENCE = 0.05
"""torchvision's and detectron2's default; the program's own is higher."""

DELTA_ORDER = [1, 0, 3, 2]
"""(dy, dx, log dh, log dw) to torchvision's (dx, dy, log dw, log dh)."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the stages give for a case.

    Attributes:
        levels: "p2" … to float32 (B, h, w, C).
        rpn_logits: float32 (B, A, 2).
        rpn_deltas: float32 (B, A, 4), (dy, dx, log dh, log dw).
        proposals: of each image, float32 (N, 4), (y1, x1, y2, x2) in pixels of the canvas.
        detections: of each image.
    """

    levels: dict[str, np.ndarray]
    rpn_logits: np.ndarray
    rpn_deltas: np.ndarray
    proposals: list[np.ndarray]
    detections: list[Found]


Compute = Callable[[Reference], Outputs]


def converted_network(state_dict: Mapping[str, np.ndarray]) -> MaskRCNNNetwork:
    """The network that a file with these arrays is converted into."""
    tensors = {}
    for name, values in state_dict.items():
        storage = Storage(str(values.dtype), values.size, Span.of(values.tobytes()))
        tensors[name] = Tensor(storage, values.shape, packed_strides(values.shape))
    conversion = convert(tensors)
    conversion.config.DETECTION_MIN_CONFIDENCE = REFERENCE_CONFIDENCE
    network = MaskRCNNNetwork(conversion.config)
    for name, layer in network.layers_by_name().items():
        arrays = conversion.arrays(name)
        for variable in layer.weights:
            variable.assign(arrays[variable.name])
    return network


def compute_with_keras(network: MaskRCNNNetwork) -> Compute:
    def stages(images, windows):
        pyramid, logits, deltas = network.extract(images, windows)
        rois, counts = network.propose(logits, deltas, windows, images.shape[1:3])
        return pyramid, logits, deltas, rois, counts

    engine, compiled = KerasEngine(network), compile_function(stages, network.variables)

    def compute(reference: Reference) -> Outputs:
        height, width = reference.images.shape[1:3]
        windows = normalize_boxes(reference.windows, height, width, last_pixel_is_one=False)
        pyramid, logits, deltas, rois, counts = compiled(reference.images, windows)
        proposals = [
            boxes_in_pixels(boxes[:count], height, width, last_pixel_is_one=False)
            for boxes, count in zip(ops.convert_to_numpy(rois), ops.convert_to_numpy(counts), strict=True)
        ]
        levels = {f"p{index}": ops.convert_to_numpy(level) for index, level in enumerate(pyramid, start=2)}
        rpn = ops.convert_to_numpy(logits), ops.convert_to_numpy(deltas)
        return Outputs(levels, *rpn, proposals, detect(engine, reference))

    return compute


def compute_with_graphs(runtime: Runtime, config: Config) -> Compute:
    engine = GraphEngine(runtime, config)

    def compute(reference: Reference) -> Outputs:
        height, width = reference.images.shape[1:3]
        found = runtime.run("features", {"images": reference.images, "windows": reference.windows})
        levels = {}
        for level in range(2, 6):
            tensor = found[f"p{level}"]
            is_last = isinstance(runtime, OpenVinoRuntime)  # its channels are in the last axis
            levels[f"p{level}"] = tensor.data.copy() if is_last else tensor.numpy().transpose(0, 2, 3, 1)
        logits, deltas = found["rpn_class_logits"].copy(), found["rpn_deltas"].copy()
        proposals = []
        for index, window in enumerate(normalize_boxes(reference.windows, height, width, last_pixel_is_one=False)):
            rpn = {"rpn_class_logits": logits[index], "rpn_deltas": deltas[index]}
            rois = runtime.run("proposals", rpn | proposal_inputs(config, window, height, width))["rois"]
            proposals.append(boxes_in_pixels(rois, height, width, last_pixel_is_one=False))
        return Outputs(levels, logits, deltas, proposals, detect(engine, reference))

    return compute


def detect(engine: Engine, reference: Reference) -> list[Found]:
    return [
        Found(raw.boxes_in_pixels(*reference.images.shape[1:3]), raw.class_ids, raw.scores, raw.mask_probs)
        for raw in engine.detect_molded(reference.images, reference.windows)
    ]


def computation_of(network: MaskRCNNNetwork, engine: str, folders: pytest.TempPathFactory) -> Compute:
    """The function that computes cases with one of ENGINES, in float32."""
    if engine == "keras":
        return compute_with_keras(network)
    parts = save_parts(export_parts(network), folders.mktemp("parts"))
    runtime = OpenVinoRuntime(parts, CpuPrecision.FLOAT32) if engine == "openvino" else OnnxRuntime(parts, "cpu")
    return compute_with_graphs(runtime, network.config)


def check_pyramid_and_rpn(outputs: Outputs, reference: Reference) -> None:
    """Raise AssertionError where a value is too far from the reference's."""
    errors = {name: reference.difference(name, values) for name, values in outputs.levels.items()}
    errors["rpn_logits"] = reference.difference("rpn_logits", outputs.rpn_logits[..., 1] - outputs.rpn_logits[..., 0])
    errors["rpn_deltas"] = reference.difference("rpn_deltas", outputs.rpn_deltas[..., DELTA_ORDER])
    assert max(errors.values()) <= LARGEST_DIFFERENCE, errors


def check_proposals(outputs: Outputs, reference: Reference) -> None:
    """Raise AssertionError where too many proposals of an image are others."""
    for index, boxes in zip(range(len(reference.images)), outputs.proposals, strict=True):
        compare_proposals(reference.proposals(index), boxes).check()


def check_detections(outputs: Outputs, reference: Reference) -> None:
    """Raise AssertionError where too many detections of an image, or a mask, are others."""
    for index, found in zip(range(len(reference.images)), outputs.detections, strict=True):
        compare_detections(reference.detections(index), found).check()
