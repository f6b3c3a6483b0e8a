"""Networks with the architectures of torchvision's against what torchvision computes from the same weights.

Keras computes every stage on its own; the engines' graphs are the ones that the program runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from keras import ops

from mrcnn.engines.base import Engine
from mrcnn.engines.graph_engine import GraphEngine, proposal_inputs
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.engines.onnx_runtime import OnnxRuntime
from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime
from mrcnn.export.parts import export_parts
from mrcnn.network.anchors import boxes_in_pixels, normalize_boxes
from mrcnn.network.compiled import compile_function
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.conversion import convert
from mrcnn.weights.stored_tensor import Span, Storage, Tensor, packed_strides
from tests.mrcnn.conftest import ONCE, on_tensorflow
from tests.mrcnn.exporting import save_parts
from tests.mrcnn.torchvision_reference import (
    CASES,
    FLAVORS,
    LARGEST_DIFFERENCE,
    Found,
    Reference,
    compare_detections,
    compare_proposals,
    load_reference,
    random_weights,
)

pytestmark = pytest.mark.slow

FEW_CASES = {"v1": ["landscape", "mixed"], "v2": ["landscape", "portrait"]}
"""Compared by default: without and with padding, batches of one and two; the first under other backends than
TensorFlow. STREAM_SEGMENT_ALL_CASES=1 compares all, in four minutes."""

ENGINES = ("keras", "openvino", "onnx")

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


def converted_network(flavor: str) -> MaskRCNNNetwork:
    """The network that a file with the reference's weights is converted into."""
    tensors = {}
    for name, values in random_weights().state_dict(flavor).items():
        storage = Storage(str(values.dtype), values.size, Span.of(values.tobytes()))
        tensors[name] = Tensor(storage, values.shape, packed_strides(values.shape))
    conversion = convert(tensors)
    network = MaskRCNNNetwork(conversion.config)
    for name, layer in network.layers_by_name().items():
        arrays = conversion.arrays(name)
        for variable in layer.weights:
            variable.assign(arrays[variable.name])
    return network


def compute_with_keras(network: MaskRCNNNetwork) -> Callable[[Reference], Outputs]:
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


def compute_with_graphs(runtime, config) -> Callable[[Reference], Outputs]:
    engine = GraphEngine(runtime, config)

    def compute(reference: Reference) -> Outputs:
        height, width = reference.images.shape[1:3]
        found = runtime.features({"images": reference.images, "windows": reference.windows})
        levels = {}
        for level in range(2, 6):
            tensor = found[f"p{level}"]
            is_last = isinstance(runtime, OpenVinoRuntime)  # its channels are in the last axis
            levels[f"p{level}"] = tensor.data.copy() if is_last else tensor.numpy().transpose(0, 2, 3, 1)
        logits, deltas = found["rpn_class_logits"].copy(), found["rpn_deltas"].copy()
        proposals = []
        for index, window in enumerate(normalize_boxes(reference.windows, height, width, last_pixel_is_one=False)):
            rpn = {"rpn_class_logits": logits[index], "rpn_deltas": deltas[index]}
            rois = runtime.proposals(rpn | proposal_inputs(config, window, height, width))
            proposals.append(boxes_in_pixels(rois, height, width, last_pixel_is_one=False))
        return Outputs(levels, logits, deltas, proposals, detect(engine, reference))

    return compute


def detect(engine: Engine, reference: Reference) -> list[Found]:
    return [
        Found(raw.boxes_in_pixels(*reference.images.shape[1:3]), raw.class_ids, raw.scores, raw.mask_probs)
        for raw in engine.detect_molded(reference.images, reference.windows)
    ]


def combinations() -> Iterator[ParameterSet]:
    """(flavor, engine, case), so ordered that each network is made once."""
    is_full = bool(os.environ.get("STREAM_SEGMENT_ALL_CASES"))
    for flavor in FLAVORS:
        for engine in ENGINES:
            for case in CASES if is_full else FEW_CASES[flavor][: 2 if on_tensorflow() else 1]:
                marks = () if engine == "keras" else ONCE
                yield pytest.param((flavor, engine, case), id=f"{flavor}-{engine}-{case}", marks=marks)


@pytest.fixture(scope="module")
def computations(tmp_path_factory):
    """The function of a flavor and an engine that computes a case; the last one is kept."""
    network_of = lru_cache(maxsize=1)(converted_network)

    @lru_cache(maxsize=1)
    def parts_of(flavor: str) -> dict[str, Path]:
        return save_parts(export_parts(network_of(flavor)), tmp_path_factory.mktemp(flavor))

    @lru_cache(maxsize=1)
    def computation(flavor: str, engine: str) -> Callable[[Reference], Outputs]:
        if engine == "keras":
            return compute_with_keras(network_of(flavor))
        parts = parts_of(flavor)
        runtime = OpenVinoRuntime(parts, CpuPrecision.FLOAT32) if engine == "openvino" else OnnxRuntime(parts, "cpu")
        return compute_with_graphs(runtime, network_of(flavor).config)

    return computation


@pytest.fixture(scope="module", params=combinations())
def compared(request, computations) -> tuple[Outputs, Reference]:
    flavor, engine, name = request.param
    reference = load_reference(flavor, name)
    return computations(flavor, engine)(reference), reference


def test_pyramid_and_rpn(compared):
    outputs, reference = compared
    errors = {name: reference.difference(name, values) for name, values in outputs.levels.items()}
    errors["rpn_logits"] = reference.difference("rpn_logits", outputs.rpn_logits[..., 1] - outputs.rpn_logits[..., 0])
    errors["rpn_deltas"] = reference.difference("rpn_deltas", outputs.rpn_deltas[..., DELTA_ORDER])
    assert max(errors.values()) <= LARGEST_DIFFERENCE, errors


def test_proposals(compared):
    outputs, reference = compared
    for index, boxes in zip(range(len(reference.images)), outputs.proposals, strict=True):
        compare_proposals(reference.proposals(index), boxes).check()


def test_detections(compared):
    outputs, reference = compared
    for index, found in zip(range(len(reference.images)), outputs.detections, strict=True):
        compare_detections(reference.detections(index), found).check()
