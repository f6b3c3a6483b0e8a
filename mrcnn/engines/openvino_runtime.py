"""Runs the exported graphs with OpenVINO on the CPU: in float32, in bfloat16 if the CPU supports it, or in int8."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import name_operations
from mrcnn.engines.graph_engine import Arrays, Inputs, Runtime
from mrcnn.engines.openvino_int8 import (
    give_int8_regions,
    halve_wide_convolutions,
    split_long_products,
    take_int8_regions,
)
from mrcnn.engines.openvino_models import (
    POOLED,
    join_stem,
    pad_in_pooling,
    piece_name,
    split_pooling,
    split_stem,
    write_out_softmax,
)
from mrcnn.engines.winograd import use_winograd
from mrcnn.network.constants import LEVELS, PYRAMID, STEM

logger = logging.getLogger(__name__)

_DYNAMIC_REGIONS = {f"windows{level}": [-1, 4] for level in LEVELS} | {f"images{level}": [-1] for level in LEVELS}

MAX_SHAPES = 4
"""Number of canvas sizes for which the parts are compiled, each with its own copy of the weights; further sizes (a
folder of photographs has dozens) share one program with dynamic shapes."""

_DYNAMIC_CANVAS = (-1, -1, -1, 3)

BODY = "features_body"
"""Name of the quantized part that follows the stem."""

PIECES = {"boxes": 8, "masks": 1}
"""Number of pieces in which a part's regions are pooled and quantized; detections, unlike proposals, are few."""

PROBES = 5
"""How many times direct convolutions and Winograd's are timed against each other."""

MIN_PIECE = 32
"""Smallest number of regions that is worth a piece."""

HEADS = {"boxes": ("class_probs", "deltas"), "masks": ("mask_probs",)}
"""The parts that pool regions, with their outputs."""
HEAD = "_head"
"""Suffix of the quantized parts that follow the pooling."""
_QUANTIZED = (BODY, *(part + HEAD for part in HEADS))


class CpuPrecision(Enum):
    """Precision of convolutions and matrix products; boxes and scores are always computed in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@cache
def core() -> Any:
    """OpenVINO's entry point, a singleton.

    Raises:
        EngineError: OpenVINO is not installed or cannot be imported.
    """
    # OpenVINO's Python tools send usage data over the network unless this package is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise EngineError(f"the engine openvino is unavailable ({error}): pip install openvino") from None
    return openvino.Core()


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions (AVX-512 BF16, AMX, or Arm's); False if OpenVINO is unavailable."""
    try:
        return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except EngineError:
        return False


def check_precision(precision: CpuPrecision) -> None:
    """Raise EngineError if OpenVINO is unavailable or the CPU does not support the precision."""
    core()
    if precision is CpuPrecision.BFLOAT16 and not cpu_has_bfloat16():
        raise EngineError("this CPU does not support bfloat16: use precision float32 or int8")


def quantizable_models(parts: Mapping[str, Path]) -> dict[str, Any]:
    """What int8 replaces, in float32: BODY, for a canvas of any size, and the heads after the pooling.

    Args:
        parts: the exported files by part name.

    Raises:
        EngineError: OpenVINO is unavailable, or a part cannot be read.
    """
    models = {BODY: split_stem(any_canvas(_read(parts["features"])))[1]}
    models |= {part + HEAD: split_pooling(_read(parts[part]))[1] for part in HEADS}
    for model in models.values():
        name_operations(model)
    return models


def any_canvas(features: Any) -> Any:
    """The part `features` for one canvas of any size; changed in place."""
    shapes = {"images": [1, -1, -1, 3], "windows": [1, 4]}
    features.reshape({name: shapes[name] for name in (parameter.any_name for parameter in features.inputs)})
    return features


def save_models(models: Mapping[str, Any], folder: Path) -> None:
    """Write models as OpenVINO's .xml and .bin. Raises OSError."""
    import openvino

    try:
        for name, model in models.items():
            openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    except RuntimeError as error:  # such as a full disk
        raise OSError(str(error).strip().splitlines()[-1]) from None


class OpenVinoRuntime(Runtime):
    """The parts, compiled for each canvas size on its first use."""

    def __init__(
        self,
        parts: Mapping[str, Path],
        precision: CpuPrecision,
        threads: int | None = None,
        exact_stem: bool = True,
    ):
        """Read the parts and compile `proposals`, which does not depend on the canvas size.

        Args:
            parts: files by part name (ONNX, or OpenVINO's .xml). If present, "features_body", "boxes_head" and
                "masks_head" replace the features after the stem and the heads after the pooling.
            precision: of convolutions and matrix products; int8 ones stay int8.
            threads: number of CPU threads; None for one per core.
            exact_stem: whether the stem is computed in float32 whatever the precision, see
                `mrcnn.network.constants.EXACT_STEMS`.

        Raises:
            EngineError: OpenVINO is unavailable, a part cannot be read, or the CPU does not support the precision.
        """
        check_precision(precision)
        hint = {CpuPrecision.FLOAT32: "f32", CpuPrecision.BFLOAT16: "bf16"}[precision]
        # Unpinned threads share the cores with decoding, drawing and encoding
        self._fast: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        self._fast["INFERENCE_PRECISION_HINT"] = hint
        # Otherwise products of int8 weights with unquantized activations are quantized without calibration
        self._fast["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
        if threads is not None:
            self._fast["INFERENCE_NUM_THREADS"] = threads
        self._exact = self._fast | {"INFERENCE_PRECISION_HINT": "f32"}
        # Folding constants, which the replacement of convolutions includes, would undo the weights of int8
        self._may_use_winograd = precision is CpuPrecision.FLOAT32 and not any(name in parts for name in _QUANTIZED)
        self._stem = self._exact if exact_stem else self._fast
        self._models = {name: _read(path) for name, path in parts.items()}
        self._scales = {part: _rewrite_head(self._models[part + HEAD]) for part in HEADS if part + HEAD in self._models}
        self._feature_inputs = [parameter.any_name for parameter in self._models["features"].inputs]
        pad_in_pooling(self._models["features"])
        write_out_softmax(self._models["proposals"])
        self._proposals = self._compile(self._models["proposals"], self._exact)
        self._networks: dict[tuple[int, ...], _Compiled] = {}

    def run(self, part: str, inputs: Arrays) -> Arrays:
        """See `Runtime.run`."""
        if part == "features":
            return self._run_features(inputs)
        if part == "proposals":
            run(self._proposals, inputs)
            return {"rois": self._proposals.get_tensor("rois").data.copy()}
        head: _Head = inputs["heads"][part]
        given = {POOLED: head.pool(inputs)} | {name: inputs[name] for name in ("class_ids",) if name in inputs}
        self.run_rest(part, head.rest, given)
        return {name: head.rest.get_tensor(name).data for name in HEADS[part]}

    def _run_features(self, inputs: Arrays) -> Arrays:
        network = self._network_for(inputs["images"].shape)
        used = {name: inputs[name] for name in self._feature_inputs}
        if network.stem is not None:
            run(network.stem, used)
            used = {STEM: network.stem.get_tensor(STEM)}
        run(network.body, used)
        pyramid = {name: network.body.get_tensor(name) for name in PYRAMID}
        logits, deltas = (network.body.get_tensor(name).data for name in ("rpn_class_logits", "rpn_deltas"))
        return {**pyramid, "rpn_class_logits": logits, "rpn_deltas": deltas, "heads": network.heads}

    def run_rest(self, part: str, rest: Any, inputs: dict[str, NDArray[Any]]) -> None:
        """Run the rest of a head after the pooling; `part` is the head's name."""
        run(rest, inputs)

    def _network_for(self, shape: tuple[int, ...]) -> _Compiled:
        """The parts compiled for canvases of this shape, (B, H, W, 3), or for any shape beyond MAX_SHAPES shapes."""
        if shape not in self._networks and len(self._networks) >= MAX_SHAPES:
            shape = _DYNAMIC_CANVAS
        if shape not in self._networks:
            features = self._models["features"].clone()
            shapes = {"images": list(shape), "windows": [shape[0], 4]}
            features.reshape({name: shapes[name] for name in self._feature_inputs})
            levels = {name: features.output(name).partial_shape for name in PYRAMID}
            stem, body = self._split_features(features)
            heads = {}
            for part in HEADS:
                model = self._models[part].clone()
                model.reshape({**levels, **_DYNAMIC_REGIONS})
                scale = self._scales.get(part)
                pieces = 1 if scale is None else PIECES[part]
                pooling, rest = split_pooling(model, pieces)
                rest = self._models.get(f"{part}{HEAD}", rest)
                if scale is not None:
                    for pool in pooling.values():
                        give_int8_regions(pool, scale)
                pools = {level: self._compile(pool, self._exact) for level, pool in pooling.items()}
                heads[part] = _Head(pools, pieces, self._compile_network(rest), rest.input(POOLED))
            self._networks[shape] = _Compiled(
                stem and self._compile(stem, self._stem), self._compile_network(body), heads
            )
        return self._networks[shape]

    def _split_features(self, features: Any) -> tuple[Any | None, Any]:
        stem, body = split_stem(features)
        if BODY in self._models:
            name, shape = body.input(0).any_name, body.input(0).partial_shape
            body = self._models[BODY].clone()
            body.reshape({name: shape})
            halve_wide_convolutions(body)
        if stem is not None and self._stem == self._fast:  # one program, without the way through memory
            return None, join_stem(stem, body)
        return stem, body

    def _compile_network(self, model: Any) -> Any:
        if self._may_use_winograd:
            use_winograd(model, lambda: winograd_is_faster(tuple(self._fast.items())))
        return self._compile(model, self._fast)

    def _compile(self, model: Any, options: Mapping[str, Any]) -> Any:
        return core().compile_model(model, "CPU", dict(options)).create_infer_request()


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Inference requests of the parts for one canvas shape."""

    stem: Any | None
    body: Any
    heads: dict[str, _Head]


class _Head:
    """A compiled head: the pooling of each level, and the rest."""

    def __init__(self, pooling: dict[int, Any], pieces: int, rest: Any, regions: Any):
        """Store the requests.

        Args:
            pooling: pooling requests by level.
            pieces: number of pieces in which each of them takes its regions.
            rest: request of the rest.
            regions: input of the rest (N, C, S, S) for pooled regions.
        """
        self.rest = rest
        self._pooling, self._pieces = pooling, pieces
        shape = [size.get_length() for size in tuple(regions.partial_shape)[1:]]
        self._pooled = np.empty((0, *shape), regions.element_type.to_dtype())

    def pool(self, inputs: Arrays) -> NDArray[Any]:
        """Pool regions from their levels: float32 or int8 (N, C, S, S), ordered by level, valid until the next call."""
        counts = {level: len(inputs[f"images{level}"]) for level in self._pooling}
        total = sum(counts.values())
        if total > len(self._pooled):  # the memory is reused: page faults would take longer than the pooling
            self._pooled = np.empty((total, *self._pooled.shape[1:]), self._pooled.dtype)
        end = 0
        for level, request in self._pooling.items():
            begin, end = end, end + counts[level]
            if begin < end:
                regions = {name: inputs[name] for name in (f"windows{level}", f"images{level}")}
                self._pool_level(request, {f"p{level}": inputs[f"p{level}"]}, regions, self._pooled[begin:end])
        return self._pooled[:total]

    def _pool_level(self, request: Any, level: dict[str, Any], regions: Inputs, pooled: NDArray[Any]) -> None:
        inputs, size = dict(level), max(MIN_PIECE, math.ceil(len(pooled) / self._pieces))
        for piece in range(self._pieces):
            rows = slice(piece * size, (piece + 1) * size)
            request.set_tensor(piece_name(POOLED, piece), shared_tensor(pooled[rows]))
            inputs |= {piece_name(name, piece): values[rows] for name, values in regions.items()}
        run(request, inputs)


def run(request: Any, inputs: Mapping[str, Any] | Sequence[Any]) -> None:
    """Run a request, which holds its outputs afterwards.

    Inputs are not copied if they are contiguous and writable. Outputs are never copied, unlike by
    `request.infer(inputs)`, which copies them even if its return value is unused.

    Args:
        request: request of one part.
        inputs: arrays of the part's data types, or OpenVINO tensors; by name or in the part's order.
    """
    arguments = dict(inputs) if isinstance(inputs, Mapping) else list(inputs)
    request.infer(
        arguments, share_inputs=True, share_outputs=True
    )  # keeps inputs alive, which a shared tensor does not


@cache
def winograd_is_faster(options: tuple[tuple[str, Any], ...]) -> bool:
    """Whether Winograd's method is faster here, measured once with 256 channels on 72 x 128 positions, by turns.

    Args:
        options: of OpenVINO's CPU plugin, by name; pairs, so that the result can be kept.
    """
    from openvino import Model
    from openvino import opset13 as ops

    shape = (1, 256, 72, 128)
    source = ops.parameter(shape, np.float32)
    weights = np.full((shape[1], shape[1], 3, 3), 1 / 2304, np.float32)
    direct = Model([ops.convolution(source, ops.constant(weights), *[[1, 1]] * 4)], [source])
    other = direct.clone()
    use_winograd(other, lambda: True)
    requests = [core().compile_model(model, "CPU", dict(options)).create_infer_request() for model in (direct, other)]
    values = np.ones(shape, np.float32)
    times_s: list[list[float]] = [[] for _ in requests]
    for _ in range(1 + PROBES):
        for request, taken in zip(requests, times_s, strict=True):
            began_s = time.perf_counter()
            run(request, [values])
            taken.append(time.perf_counter() - began_s)
    direct_ms, other_ms = (1000 * min(taken[1:]) for taken in times_s)  # the first allocates
    logger.debug("3x3 convolutions: direct %.1f ms, Winograd %.1f ms", direct_ms, other_ms)
    return other_ms < direct_ms


def shared_tensor(values: NDArray[Any]) -> Any:
    """An OpenVINO tensor on the memory of an array, which must outlive it."""
    import openvino

    return openvino.Tensor(values, shared_memory=True)


def _rewrite_head(head: Any) -> float | None:
    """Rewrite an int8 head for speed, and return the scale of its int8 regions; None if it takes float32 regions."""
    split_long_products(head)
    return take_int8_regions(head, POOLED)


def _read(path: Path) -> Any:
    try:
        return core().read_model(path)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot read {path}: {first}") from None
