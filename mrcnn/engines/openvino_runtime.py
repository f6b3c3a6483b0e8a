"""OpenVINO runs the exported graphs, on the CPU: in float32, in bfloat16 where the CPU computes in it, or in int8."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .base import EngineError
from .graph_engine import Arrays, Runtime
from .openvino_models import POOLED, PYRAMID, give_places_first, split_pooling

_LEVELS = (2, 3, 4, 5)
_ANY_REGIONS = {f"windows{level}": [-1, 4] for level in _LEVELS} | {f"images{level}": [-1] for level in _LEVELS}


MOST_SHAPES = 4
"""For so many sizes of canvas the parts are compiled, each with a copy of the weights of its own; those that come later
(a folder of photographs has dozens) share one that takes any size."""

_ANY_CANVAS = (-1, -1, -1, 3)

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
            parts: files by part name (ONNX, or OpenVINO's own .xml). "boxes_head" and "masks_head", if they are there,
                take the place of what these parts do behind the pooling.
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
        if threads is not None:
            self._fast["INFERENCE_NUM_THREADS"] = threads
        self._exact = self._fast | {"INFERENCE_PRECISION_HINT": "f32"}
        self._models = {name: _read(path) for name, path in parts.items()}
        self._proposals = self._compile(self._models["proposals"], self._exact)
        self._requests: dict[tuple[int, ...], dict[str, Any]] = {}

    def features(self, images: np.ndarray) -> Arrays:
        """See `Runtime.features`."""
        requests = self._requests_for(images.shape)
        request = requests["features"]
        request.infer([images], share_inputs=True)
        pyramid = {name: request.get_tensor(name) for name in PYRAMID}
        logits, deltas = (request.get_tensor(name).data for name in ("rpn_class_logits", "rpn_deltas"))
        return {**pyramid, "rpn_class_logits": logits, "rpn_deltas": deltas, "heads": requests}

    def proposals(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime.proposals`."""
        request = self._proposals
        request.infer(dict(inputs), share_inputs=True)
        return request.get_tensor("rois").data.copy()

    def boxes(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `Runtime.boxes`."""
        request = self._run_head("boxes", pyramid, inputs)
        return request.get_tensor("class_probs").data, request.get_tensor("deltas").data

    def masks(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Runtime.masks`."""
        return self._run_head("masks", pyramid, inputs).get_tensor("mask_probs").data

    def _run_head(self, part: str, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> Any:
        pooling, rest = pyramid["heads"][part]
        others = dict(inputs)
        regions = {name: others.pop(name) for name in _ANY_REGIONS}
        pooling.infer({**{name: pyramid[name] for name in PYRAMID}, **regions}, share_inputs=True)
        self.run_rest(part, rest, {POOLED: pooling.get_tensor(POOLED), **others})
        return rest

    def run_rest(self, part: str, rest: Any, inputs: dict[str, Any]) -> None:
        """Run what a part does behind the pooling. `part` is its name."""
        rest.infer(inputs, share_inputs=True)

    def _requests_for(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Every part compiled for canvases of this shape, (B, H, W, 3); for any shape, once there were many."""
        if shape not in self._requests and len(self._requests) >= MOST_SHAPES:
            shape = _ANY_CANVAS
        if shape not in self._requests:
            features = self._models["features"].clone()
            features.reshape({"images": list(shape)})
            levels = {name: features.output(name).partial_shape for name in PYRAMID}
            requests = {"features": self._compile(give_places_first(features), self._fast)}
            for part in ("boxes", "masks"):
                head = self._models[part].clone()
                head.reshape({**levels, **_ANY_REGIONS})
                pooling, rest = split_pooling(head)
                rest = self._models.get(f"{part}{HEAD}", rest)
                requests[part] = self._compile(pooling, self._exact), self._compile(rest, self._fast)
            self._requests[shape] = requests
        return self._requests[shape]

    def _compile(self, model: Any, options: Mapping[str, Any]) -> Any:
        return core().compile_model(model, "CPU", dict(options)).create_infer_request()


def _read(path: Path) -> Any:
    try:
        return core().read_model(path)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1]
        raise EngineError(f"OpenVINO cannot read {path}: {first}") from None
