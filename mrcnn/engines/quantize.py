"""Makes the int8 version of the part `features`: post-training quantization with NNCF.

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

from . import cache
from .base import EngineError
from .create import INT8_FOLDER, INT8_VERSION
from .exported import exported_parts
from .openvino_runtime import core


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
    model = core().read_model(exported_parts(weights, config, folder)["features"])
    model.reshape({"images": [1, -1, -1, 3]})
    dataset = nncf.Dataset(list(canvases), lambda canvas: {"images": canvas[None]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NNCF's dependencies deprecate one another
        quantized = nncf.quantize(model, dataset, subset_size=len(canvases), preset=nncf.QuantizationPreset.MIXED)
    notes = {"canvases": len(canvases)}
    try:
        cache.write(folder / INT8_FOLDER, INT8_VERSION, lambda part: _save(quantized, part), notes)
    except OSError as error:
        raise EngineError(f"the int8 network cannot be written to {folder / INT8_FOLDER}: {error}") from None
    return folder / INT8_FOLDER


def _save(model: Any, folder: Path) -> None:
    import openvino

    try:
        openvino.save_model(model, folder / "features.xml", compress_to_fp16=False)
    except RuntimeError as error:  # a full disk, among others
        raise OSError(str(error).strip().splitlines()[-1]) from None


def _nncf() -> Any:
    # NNCF reports its use over the network unless this package is missing
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise EngineError(f"int8 needs NNCF ({error}): pip install -r requirements-optimize.txt") from None
    nncf.set_log_level(logging.ERROR)
    return nncf
