"""Makes an engine for a weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrcnn.engines import cache
from mrcnn.engines.base import Engine, EngineError
from mrcnn.engines.exported import exported_parts
from mrcnn.engines.graph_engine import GraphEngine

INT8_VERSION = f"stream_segment int8 {cache.FORMAT}"
INT8_FOLDER = "int8"


def create_keras_engine(weights: Path, config: Any, precision: str) -> Engine:
    """The network in Keras, on the backend that is loaded.

    Args:
        weights: the weight file.
        config: the Config of its network.
        precision: "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: the weights do not fit.
    """
    from mrcnn.engines.keras_engine import KerasEngine
    from mrcnn.network.folding import inference_copy
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.network.target import Target, default_target
    from mrcnn.weights.load_save import load_weights

    network = MaskRCNNNetwork(config)
    load_weights(network, weights)
    if precision != "float32" or default_target() is Target.ACCELERATOR:
        # in float32 on a CPU the copy would take seconds and gain nothing
        network = inference_copy(network, precision)
    return KerasEngine(network)


def create_openvino_engine(weights: Path, config: Any, precision: str, threads: int | None = None) -> Engine:
    """The exported network, run by OpenVINO on the CPU.

    Args:
        weights: the weight file.
        config: the Config of its network.
        precision: "float32", "bfloat16" or "int8"; int8 needs what `quantize` has prepared.
        threads: of the CPU; None: as many as it has cores.

    Raises:
        EngineError: OpenVINO is missing, the CPU lacks the precision, the network cannot be exported, or int8 is not
            prepared; the text is one line that says what to do.
    """
    from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime, check_precision, cpu_has_bfloat16

    if precision != "int8":
        check_precision(CpuPrecision(precision))  # before the export, which takes seconds
    folder = cache.cache_folder(weights, config)
    parts = exported_parts(weights, config, folder)
    if precision == "int8":
        try:
            parts |= cache.read(folder / INT8_FOLDER, INT8_VERSION)
        except cache.CacheFault as fault:
            raise EngineError(f"int8 is not prepared ({fault}): run `stream_segment.py optimize`") from None
        precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    return GraphEngine(OpenVinoRuntime(parts, CpuPrecision(precision), threads), config)


def create_onnx_engine(weights: Path, config: Any, precision: str, provider: str | None = None) -> Engine:
    """The exported network, run by ONNX Runtime.

    Args:
        weights: the weight file.
        config: the Config of its network.
        precision: "float32", or "float16" with TensorRT.
        provider: "tensorrt", "cuda" or "cpu"; None: the fastest that this installation has.

    Raises:
        EngineError: ONNX Runtime or the provider is missing, it has no float16, or the network cannot be exported.
    """
    from mrcnn.engines.onnx_runtime import OnnxRuntime, available_provider

    provider = provider or available_provider()
    folder = cache.cache_folder(weights, config)
    parts = exported_parts(weights, config, folder)
    return GraphEngine(OnnxRuntime(parts, provider, precision == "float16", folder / "tensorrt"), config)


def int8_is_there(weights: Path, config: Any) -> bool:
    """Whether something lies where `quantize` puts its result; whether it is whole is seen when it is loaded."""
    return (cache.cache_folder(weights, config) / INT8_FOLDER).is_dir()
