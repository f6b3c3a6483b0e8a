"""Makes the int8 version of the features and of the heads: post-training quantization with NNCF.

Every convolution is computed in int8 with a scale per output channel; the scales of what goes in come from a handful
of real canvases (Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference").
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.engines import cache
from mrcnn.engines.base import EngineError
from mrcnn.engines.create import INT8_FOLDER, INT8_VERSION
from mrcnn.engines.exported import exported_parts
from mrcnn.engines.graph_engine import GraphEngine
from mrcnn.engines.openvino_models import STEM, split_pooling, split_stem
from mrcnn.engines.openvino_runtime import BODY, HEAD, CpuPrecision, OpenVinoRuntime, core

HEAD_CANVASES = 8
"""On so many canvases the heads are calibrated; each holds up to a thousand regions."""

LEAST_CHANNELS = 128
"""Heads on a narrower pyramid stay as they are: they take a few milliseconds, of which int8 saves one."""


def quantize(weights: Path, config: Any, canvases: Sequence[np.ndarray]) -> Path:
    """Calibrate on canvases and keep the result in the cache, where the OpenVINO engine finds it.

    Args:
        weights: the weight file.
        config: the Config of its network.
        canvases: uint8 (H, W, 3) RGB each, as the network will see them; they may differ in size.

    Returns:
        The folder of the result; it is there only if it is complete.

    Raises:
        EngineError: NNCF or OpenVINO is missing, the network cannot be exported, or the result cannot be written.
        ValueError: no canvases.
    """
    if not canvases:
        raise ValueError("quantize needs one canvas or more")
    nncf = _nncf()
    folder = cache.cache_folder(weights, config)
    cache.check_lasting(folder, weights)
    parts = exported_parts(weights, config, folder)
    preset = _preset(nncf, config)
    int8 = {BODY: _calibrated(nncf, *_body(parts, canvases), preset)}
    if int(config.TOP_DOWN_PYRAMID_SIZE) >= LEAST_CHANNELS:
        for part, (head, inputs) in _heads(parts, config, canvases).items():
            if inputs:  # nothing was found on the canvases that could calibrate the mask head
                int8[part + HEAD] = _calibrated(nncf, head, inputs, preset, _last_products(head))
    notes = {"canvases": len(canvases)}
    try:
        cache.write(folder / INT8_FOLDER, INT8_VERSION, lambda part: _save(int8, part), notes)
    except OSError as error:
        raise EngineError(f"the int8 network cannot be written to {folder / INT8_FOLDER}: {error}") from None
    return folder / INT8_FOLDER


def _body(parts: dict[str, Path], canvases: Sequence[np.ndarray]) -> tuple[Any, list[dict[str, np.ndarray]]]:
    """The features behind the stem, and what goes into them on each canvas."""
    features = core().read_model(parts["features"])
    features.reshape({"images": [1, -1, -1, 3]})
    stem, body = split_stem(features)
    if stem is None:
        return body, [{body.input(0).any_name: canvas[None]} for canvas in canvases]
    compiled = core().compile_model(stem, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return body, [{STEM: compiled(canvas[None])[STEM].copy()} for canvas in canvases]


def _preset(nncf: Any, config: Any) -> Any:
    """How zero is placed. Behind a ReLU nothing is negative, and zero at the end of the range costs nothing: measured
    with ResNet-101, 4 % less time for the same detections. EfficientNet-Lite0's blocks end without one."""
    presets = nncf.QuantizationPreset
    return presets.MIXED if config.BACKBONE == "efficientnet_lite0" else presets.PERFORMANCE


def _calibrated(
    nncf: Any, model: Any, inputs: Sequence[dict[str, np.ndarray]], preset: Any, spared: Sequence[str] = ()
) -> Any:
    options = {"subset_size": len(inputs), "preset": preset, "ignored_scope": nncf.IgnoredScope(names=list(spared))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NNCF's dependencies deprecate one another
        return nncf.quantize(model, nncf.Dataset(list(inputs)), **options)


def _last_products(head: Any) -> list[str]:
    """Names of the matrix products behind which a head has none: they are small, and what they give is the answer."""
    names, waiting = set(), [result.input_value(0).get_node() for result in head.get_results()]
    while waiting:
        node = waiting.pop()
        if node.get_type_name() == "MatMul":
            names.add(node.get_friendly_name())
        else:
            waiting += [source.get_source_output().get_node() for source in node.inputs()]
    return sorted(names)


class _Listening(OpenVinoRuntime):
    """Keeps what goes into the heads behind the pooling."""

    def __init__(self, parts: dict[str, Path]):
        super().__init__(parts, CpuPrecision.FLOAT32)
        self.heard: dict[str, list[dict[str, np.ndarray]]] = {"boxes": [], "masks": []}

    def run_rest(self, part: str, rest: Any, inputs: dict[str, Any]) -> None:
        """See `OpenVinoRuntime.run_rest`."""
        kept = {name: np.array(getattr(values, "data", values)) for name, values in inputs.items()}
        self.heard[part].append(kept)
        super().run_rest(part, rest, inputs)


def _heads(parts: dict[str, Path], config: Any, canvases: Sequence[np.ndarray]):
    """The heads behind the pooling, and what goes into them on some of the canvases: {part: (model, inputs)}."""
    runtime = _Listening(parts)
    engine = GraphEngine(runtime, config)
    for canvas in canvases[:: max(1, len(canvases) // HEAD_CANVASES)][:HEAD_CANVASES]:
        engine.detect_molded(canvas[None], np.array([[0, 0, *canvas.shape[:2]]]))
    heads = {}
    for part, inputs in runtime.heard.items():
        model = core().read_model(parts[part])
        heads[part] = split_pooling(model)[1], inputs
    return heads


def _save(models: dict[str, Any], folder: Path) -> None:
    import openvino

    try:
        for name, model in models.items():
            openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    except RuntimeError as error:  # a full disk, among others
        raise OSError(str(error).strip().splitlines()[-1]) from None


def _nncf() -> Any:
    # NNCF reports its use over the network unless this package is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise EngineError(f"int8 needs NNCF ({error}): pip install nncf") from None
    # nncf.set_log_level would set the level of handlers that others have added, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
