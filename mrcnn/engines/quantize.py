"""Quantizes features and heads to int8: post-training quantization with NNCF.

Weights have one scale per output channel; the scales of activations are calibrated on real canvases (Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference").
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.config import Config
from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import Calibration, changes_between
from mrcnn.engines.create import exported_parts
from mrcnn.engines.graph_engine import GraphEngine
from mrcnn.engines.openvino_models import split_stem
from mrcnn.engines.openvino_runtime import (
    BODY,
    HEAD,
    HEADS,
    CpuPrecision,
    OpenVinoRuntime,
    any_canvas,
    core,
    quantizable_models,
)
from mrcnn.network.constants import STEM

HEAD_CANVASES = 8
"""Number of canvases on which the heads are calibrated; each provides up to a thousand regions."""

MIN_CHANNELS = 128
"""Heads on a narrower pyramid are not quantized: they take a few milliseconds, of which int8 saves one."""

Images = Sequence[NDArray[np.uint8]]
"""Canvases uint8 (H, W, 3), RGB, which may differ in size."""

Window = tuple[int, int, int, int]
"""(y1, x1, y2, x2), pixels: the part of a canvas that holds the image."""

Placed = Sequence[tuple[NDArray[np.uint8], Window]]
"""Canvases with their windows."""

ModelInputs = dict[str, NDArray[Any]]
"""Arrays by input name."""


def quantize(weights: Path, config: Config, canvases: Images, windows: Sequence[Window] | None = None) -> Calibration:
    """Calibrate on canvases.

    Args:
        weights: the weight file.
        config: settings of its network.
        canvases: uint8 (H, W, 3), RGB, prepared as for inference; they may differ in size.
        windows: one for each canvas; None where the images cover their canvases.

    Returns:
        What int8 needs beside the weights, for `write_calibration`.

    Raises:
        EngineError: NNCF or OpenVINO is missing, or the network cannot be exported or quantized.
        ValueError: no canvases.
    """
    if not canvases:
        raise ValueError("quantize needs one canvas or more")
    if windows is None:
        windows = [(0, 0, *canvas.shape[:2]) for canvas in canvases]
    placed = list(zip(canvases, windows, strict=True))
    nncf = _nncf()
    parts = exported_parts(weights, config)
    models = quantizable_models(parts)
    # Symmetric quantization. Asymmetric activations (MIXED), which OpenVINO has no fast 1x1 convolutions for, took 4 %
    # longer with ResNet-101 and 10 % with the shipped model, for the same agreement with float32.
    preset = nncf.QuantizationPreset.PERFORMANCE
    inputs = {BODY: _body_inputs(parts, placed)}
    if int(config.TOP_DOWN_PYRAMID_SIZE) >= MIN_CHANNELS:
        inputs |= _head_inputs(parts, config, placed)
    changes = {}
    for part, given in inputs.items():
        if given:  # without detections on the canvases, the mask head cannot be calibrated
            ignored = [] if part == BODY else _last_products(models[part])
            quantized = _calibrated(nncf, models[part].clone(), given, preset, ignored)
            changes[part] = list(changes_between(models[part], quantized))
    return Calibration(changes, {"canvases": len(canvases)})


def _body_inputs(parts: dict[str, Path], placed: Placed) -> list[ModelInputs]:
    """The inputs of the features after the stem, for each canvas."""
    features = any_canvas(core().read_model(parts["features"]))
    names = [parameter.any_name for parameter in features.inputs]
    stem, _ = split_stem(features)
    inputs = [{name: values for name, values in _feature_inputs(*one).items() if name in names} for one in placed]
    if stem is None:
        return inputs
    compiled = core().compile_model(stem, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [{STEM: compiled(values)[STEM].copy()} for values in inputs]


def _feature_inputs(canvas: NDArray[np.uint8], window: Window) -> ModelInputs:
    return {"images": canvas[None], "windows": np.array([window], np.int64)}


def _calibrated(nncf: Any, model: Any, inputs: Sequence[ModelInputs], preset: Any, ignored: Sequence[str] = ()) -> Any:
    options = {"subset_size": len(inputs), "preset": preset, "ignored_scope": nncf.IgnoredScope(names=list(ignored))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NNCF's dependencies raise deprecation warnings
        return nncf.quantize(model, nncf.Dataset(list(inputs)), **options)


def _last_products(head: Any) -> list[str]:
    """Names of the last matrix products of a head: they are small, and their outputs are the head's results."""
    names, waiting = set(), [result.input_value(0).get_node() for result in head.get_results()]
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "MatMul":
            names.add(node.get_friendly_name())
        else:
            waiting += [source.get_source_output().get_node() for source in node.inputs()]
    return sorted(names)


class _RecordingRuntime(OpenVinoRuntime):
    """Records the inputs of the heads after the pooling."""

    def __init__(self, parts: dict[str, Path]):
        super().__init__(parts, CpuPrecision.FLOAT32)
        self.recorded: dict[str, list[ModelInputs]] = {part: [] for part in HEADS}

    def run_rest(self, part: str, rest: Any, inputs: dict[str, NDArray[Any]]) -> None:
        """See `OpenVinoRuntime.run_rest`."""
        self.recorded[part].append({name: np.array(values) for name, values in inputs.items()})
        super().run_rest(part, rest, inputs)


def _head_inputs(parts: dict[str, Path], config: Config, placed: Placed) -> dict[str, list[ModelInputs]]:
    """The inputs of the heads after the pooling, on some of the canvases, by part."""
    runtime = _RecordingRuntime(parts)
    engine = GraphEngine(runtime, config)
    for canvas, window in placed[:: max(1, len(placed) // HEAD_CANVASES)][:HEAD_CANVASES]:
        engine.detect_molded(canvas[None], np.array([window]))
    return {part + HEAD: inputs for part, inputs in runtime.recorded.items()}


def _nncf() -> Any:
    # NNCF sends usage data over the network unless this package is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise EngineError(f"int8 needs NNCF ({error}): pip install nncf") from None
    # nncf.set_log_level would set the level of handlers that others have added, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
