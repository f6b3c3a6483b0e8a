"""Creates engines from weight files."""

from __future__ import annotations

from pathlib import Path

from mrcnn.config import Config
from mrcnn.engines import cache
from mrcnn.engines.base import Engine, EngineError
from mrcnn.engines.exported import exported_parts
from mrcnn.engines.graph_engine import GraphEngine

INT8_VERSION = f"stream_segment int8 {cache.FORMAT}"
INT8_FOLDER = "int8"


def create_keras_engine(weights: Path, config: Config, precision: str) -> Engine:
    """Create an engine that computes the network in Keras.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: the weights do not match the network.
    """
    from mrcnn.engines.keras_engine import KerasEngine
    from mrcnn.network.folding import inference_copy
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.network.target import Target, default_target
    from mrcnn.weights.load_save import load_weights

    network = MaskRCNNNetwork(config)
    load_weights(network, weights)
    if precision != "float32" or default_target() is Target.ACCELERATOR:
        # on a CPU in float32, the copy would take seconds and not be faster
        network = inference_copy(network, precision)
    return KerasEngine(network)


def create_openvino_engine(weights: Path, config: Config, precision: str, threads: int | None = None) -> Engine:
    """Create an engine that runs the exported network with OpenVINO on the CPU.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", "bfloat16" or "int8"; int8 requires the result of `mrcnn.engines.quantize.quantize`.
        threads: number of CPU threads; None for one per core.

    Raises:
        EngineError: OpenVINO is missing, the CPU does not support the precision, the network cannot be exported, or it
            has not been quantized; the message is one line with the remedy.
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
            raise EngineError(f"int8 is not prepared ({fault}): run the command optimize") from None
        precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    return GraphEngine(OpenVinoRuntime(parts, CpuPrecision(precision), threads), config)


def create_onnx_engine(weights: Path, config: Config, precision: str, provider: str | None = None) -> Engine:
    """Create an engine that runs the exported network with ONNX Runtime.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", or "float16" with TensorRT.
        provider: "tensorrt", "cuda" or "cpu"; None for the fastest that is installed.

    Raises:
        EngineError: ONNX Runtime or the provider is missing, the provider does not support float16, or the network
            cannot be exported.
    """
    from mrcnn.engines.onnx_runtime import OnnxRuntime, available_providers

    provider = provider or available_providers()[0]
    folder = cache.cache_folder(weights, config)
    parts = exported_parts(weights, config, folder)
    return GraphEngine(OnnxRuntime(parts, provider, precision == "float16", folder / "tensorrt"), config)


def int8_is_there(weights: Path, config: Config) -> bool:
    """Whether the network has been quantized; the files are only verified when they are loaded."""
    return (cache.cache_folder(weights, config) / INT8_FOLDER).is_dir()
