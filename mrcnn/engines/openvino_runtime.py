"""OpenVINO runs the exported graphs, on the CPU: in float32, in bfloat16 where the CPU computes in it, or in int8."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.engines.base import EngineError
from mrcnn.engines.graph_engine import Arrays, Runtime
from mrcnn.engines.openvino_int8 import (
    give_int8_regions,
    halve_wide_convolutions,
    split_long_products,
    take_int8_regions,
)
from mrcnn.engines.openvino_models import (
    LEVELS,
    POOLED,
    PYRAMID,
    STEM,
    piece_name,
    split_pooling,
    split_stem,
    write_out_softmax,
)

_ANY_REGIONS = {f"windows{level}": [-1, 4] for level in LEVELS} | {f"images{level}": [-1] for level in LEVELS}

MOST_SHAPES = 4
"""For so many sizes of canvas the parts are compiled, each with a copy of the weights of its own; those that come later
(a folder of photographs has dozens) share one that takes any size."""

_ANY_CANVAS = (-1, -1, -1, 3)

BODY = "features_body"
"""The part that begins behind the stem."""

PIECES = {"boxes": 8, "masks": 1}
"""In so many pieces a part's regions are pooled if they are quantized then; objects, unlike proposals, are few."""

LEAST_PIECE = 32
"""Fewer regions are not worth a piece of their own."""

HEADS = ("boxes", "masks")
HEAD = "_head"
"""Ending of the parts that begin behind the pooling."""


class CpuPrecision(Enum):
    """In what the convolutions and matrix products are computed. Boxes and scores are float32 in any case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@cache
def core() -> Any:
    """OpenVINO's entry point, made once.

    Raises:
        EngineError: OpenVINO is not installed, or does not load here.
    """
    # OpenVINO's Python tools report their use over the network unless this package is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise EngineError(f"the engine openvino is not there ({error}): pip install openvino") from None
    return openvino.Core()


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX-512 BF16, AMX, or Arm's equal)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_precision(precision: CpuPrecision) -> None:
    """Raises EngineError where OpenVINO is missing or the CPU does not compute in this precision."""
    if precision is CpuPrecision.BFLOAT16 and not cpu_has_bfloat16():
        raise EngineError("this CPU does not compute in bfloat16: use precision float32 or int8")
    core()


class OpenVinoRuntime(Runtime):
    """The parts, compiled for each size of canvas when it first comes."""

    def __init__(self, parts: Mapping[str, Path], precision: CpuPrecision, threads: int | None = None):
        """Read the parts; nothing is compiled yet.

        Args:
            parts: files by part name (ONNX, or OpenVINO's own .xml). "features_body", "boxes_head" and "masks_head", if
                they are there, take the place of what these parts do behind the stem and behind the pooling.
            precision: of the convolutions; those that a part holds in int8 stay so.
            threads: of the CPU; None: as many as it has cores.

        Raises:
            EngineError: OpenVINO is missing, a part cannot be read, or the CPU has no bfloat16.
        """
        check_precision(precision)
        hint = {CpuPrecision.FLOAT32: "f32", CpuPrecision.BFLOAT16: "bf16"}[precision]
        # Threads that are free to move share the cores with decoding, drawing and encoding
        self._fast: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        self._fast["INFERENCE_PRECISION_HINT"] = hint
        # Else a product with int8 weights whose other side is not quantized gets a quantization that nobody calibrated
        self._fast["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if threads is not None:
            self._fast["INFERENCE_NUM_THREADS"] = threads
        self._exact = self._fast | {"INFERENCE_PRECISION_HINT": "f32"}
        self._models = {name: _read(path) for name, path in parts.items()}
        self._steps = {part: _rearranged(self._models[part + HEAD]) for part in HEADS if part + HEAD in self._models}
        write_out_softmax(self._models["proposals"])
        self._proposals = self._compile(self._models["proposals"], self._exact)
        self._networks: dict[tuple[int, ...], _Compiled] = {}

    def features(self, images: np.ndarray) -> Arrays:
        """See `Runtime.features`."""
        network = self._network_for(images.shape)
        given = images
        if network.stem is not None:
            run(network.stem, [images])
            given = network.stem.get_tensor(STEM)
        run(network.body, [given])
        pyramid = {name: network.body.get_tensor(name) for name in PYRAMID}
        logits, deltas = (network.body.get_tensor(name).data for name in ("rpn_class_logits", "rpn_deltas"))
        return {**pyramid, "rpn_class_logits": logits, "rpn_deltas": deltas, "heads": network.heads}

    def proposals(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime.proposals`."""
        request = self._proposals
        run(request, inputs)
        return request.get_tensor("rois").data.copy()

    def boxes(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.boxes`."""
        request = self._run_head("boxes", pyramid, inputs)
        return request.get_tensor("class_probs").data, request.get_tensor("deltas").data

    def masks(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime.masks`."""
        return self._run_head("masks", pyramid, inputs).get_tensor("mask_probs").data

    def _run_head(self, part: str, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> Any:
        head: _Head = pyramid["heads"][part]
        others = {name: values for name, values in inputs.items() if name not in _ANY_REGIONS}
        self.run_rest(part, head.rest, {POOLED: head.pool(pyramid, inputs), **others})
        return head.rest

    def run_rest(self, part: str, rest: Any, inputs: dict[str, Any]) -> None:
        """Run what a part does behind the pooling. `part` is its name."""
        run(rest, inputs)

    def _network_for(self, shape: tuple[int, ...]) -> _Compiled:
        """Every part compiled for canvases of this shape, (B, H, W, 3); for any shape, once there were many."""
        if shape not in self._networks and len(self._networks) >= MOST_SHAPES:
            shape = _ANY_CANVAS
        if shape not in self._networks:
            features = self._models["features"].clone()
            features.reshape({"images": list(shape)})
            levels = {name: features.output(name).partial_shape for name in PYRAMID}
            stem, body = self._split_features(features)
            heads = {}
            for part in HEADS:
                model = self._models[part].clone()
                model.reshape({**levels, **_ANY_REGIONS})
                step = self._steps.get(part)
                pieces = 1 if step is None else PIECES[part]
                pooling, rest = split_pooling(model, pieces)
                rest = self._models.get(f"{part}{HEAD}", rest)
                if step is not None:
                    for one in pooling.values():
                        give_int8_regions(one, step)
                pools = {level: self._compile(one, self._exact) for level, one in pooling.items()}
                heads[part] = _Head(pools, pieces, self._compile(rest, self._fast), rest.input(POOLED))
            self._networks[shape] = _Compiled(
                stem and self._compile(stem, self._exact), self._compile(body, self._fast), heads
            )
        return self._networks[shape]

    def _split_features(self, features: Any) -> tuple[Any | None, Any]:
        stem, body = split_stem(features)
        if BODY in self._models:
            name, shape = body.input(0).any_name, body.input(0).partial_shape
            body = self._models[BODY].clone()
            body.reshape({name: shape})
            halve_wide_convolutions(body)
        return stem, body

    def _compile(self, model: Any, options: Mapping[str, Any]) -> Any:
        return core().compile_model(model, "CPU", dict(options)).create_infer_request()


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The parts for one shape of canvas: requests, ready to run."""

    stem: Any | None
    body: Any
    heads: dict[str, _Head]


class _Head:
    """A part that works on regions: the pooling of each level, and the rest."""

    def __init__(self, pooling: dict[int, Any], pieces: int, rest: Any, regions: Any):
        """Put it together.

        Args:
            pooling: requests by level.
            pieces: in which each of them takes its regions.
            rest: request.
            regions: the rest's input (N, C, S, S) for pooled regions.
        """
        self.rest = rest
        self._pooling, self._pieces = pooling, pieces
        shape = [size.get_length() for size in tuple(regions.partial_shape)[1:]]
        self._pooled = np.empty((0, *shape), regions.element_type.to_dtype())

    def pool(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Regions out of their levels, in the order of the levels: float32 or int8 (N, C, S, S), valid until the next
        call."""
        counts = {level: len(inputs[f"images{level}"]) for level in self._pooling}
        total = sum(counts.values())
        if total > len(self._pooled):  # the memory is kept: fresh pages would cost more than the pooling
            self._pooled = np.empty((total, *self._pooled.shape[1:]), self._pooled.dtype)
        end = 0
        for level, request in self._pooling.items():
            begin, end = end, end + counts[level]
            if begin < end:
                regions = {name: inputs[name] for name in (f"windows{level}", f"images{level}")}
                self._pool_level(request, {f"p{level}": pyramid[f"p{level}"]}, regions, self._pooled[begin:end])
        return self._pooled[:total]

    def _pool_level(self, request: Any, level: dict[str, Any], regions: Arrays, pooled: np.ndarray) -> None:
        given, size = dict(level), max(LEAST_PIECE, math.ceil(len(pooled) / self._pieces))
        for piece in range(self._pieces):
            rows = slice(piece * size, (piece + 1) * size)
            request.set_tensor(piece_name(POOLED, piece), shared_tensor(pooled[rows]))
            given |= {piece_name(name, piece): values[rows] for name, values in regions.items()}
        run(request, given)


def run(request: Any, inputs: Mapping[str, Any] | Sequence[Any]) -> None:
    """Compute; what comes out lies in the request. Inputs are not copied if they lie in one piece and may be written,
    and outputs never, as they are by `request.infer(inputs)` even where nobody takes what it returns.

    Args:
        request: of one part.
        inputs: arrays of the part's own types, or OpenVINO's tensors; by name or in the part's order.
    """
    given = dict(inputs) if isinstance(inputs, Mapping) else list(inputs)
    request.infer(given, share_inputs=True, share_outputs=True)  # which keeps them alive: a shared tensor does not


def shared_tensor(values: np.ndarray) -> Any:
    """OpenVINO's view of an array, without a copy. The array must outlive it."""
    import openvino

    return openvino.Tensor(values, shared_memory=True)


def _rearranged(head: Any) -> float | None:
    """An int8 head in the form that is fast here; what a step of its int8 regions is worth, if it takes such."""
    split_long_products(head)
    return take_int8_regions(head, POOLED)


def _read(path: Path) -> Any:
    try:
        return core().read_model(path)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot read {path}: {first}") from None
