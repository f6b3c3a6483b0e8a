"""Runs the exported graphs with ONNX Runtime: on the CPU, or with CUDA or TensorRT if its GPU package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mrcnn.engines.base import EngineError
from mrcnn.engines.graph_engine import Arrays, Runtime
from mrcnn.network.constants import PYRAMID

Provider = tuple[str, dict[str, str]]
"""Name and options of an execution provider."""

PROVIDERS = {
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "cpu": ("CPUExecutionProvider",),
}
"""Execution providers in order of preference; later ones run the nodes that earlier ones do not support."""


@cache
def onnxruntime() -> Any:
    """The package onnxruntime.

    Raises:
        EngineError: it is not installed or cannot be imported.
    """
    try:
        import onnxruntime as module
    except (ImportError, OSError) as error:
        raise EngineError(
            f"the engine onnx is unavailable ({error}): pip install onnxruntime (onnxruntime-gpu for CUDA and TensorRT)"
        ) from None
    return module


def available_providers() -> list[str]:
    """Keys of PROVIDERS that ONNX Runtime was built with, the fastest first; their libraries may still be missing."""
    installed = onnxruntime().get_available_providers()
    return [name for name, (first, *_) in PROVIDERS.items() if first in installed]


class OnnxRuntime(Runtime):
    """One session per part. The pyramid stays on the device between them."""

    def __init__(self, parts: Mapping[str, Path], provider: str, half: bool = False, cache_dir: Path | None = None):
        """Load the parts.

        Args:
            parts: ONNX files by part name.
            provider: a key of PROVIDERS.
            half: compute in float16, which only TensorRT supports.
            cache_dir: folder in which TensorRT caches its engines.

        Raises:
            EngineError: ONNX Runtime or the provider is missing, or a part cannot be loaded.
        """
        module = onnxruntime()
        if PROVIDERS[provider][0] not in module.get_available_providers():
            raise EngineError(f"this ONNX Runtime has no {provider}: pip install onnxruntime-gpu, or use device cpu")
        if half and provider != "tensorrt":
            raise EngineError(f"ONNX Runtime computes in float16 with TensorRT only, not with {provider}")
        self._device = "cpu" if provider == "cpu" else "cuda"
        fast = [(name, _options(name, half, cache_dir)) for name in PROVIDERS[provider]]
        # boxes stay in float32, and for these few nodes the copy to the device would take longer than the computation
        exact: list[Provider] = [("CPUExecutionProvider", {})]
        self._sessions = {name: _load(path, exact if name == "proposals" else fast) for name, path in parts.items()}

    def run(self, part: str, inputs: Arrays) -> Arrays:
        """See `Runtime.run`."""
        session = self._sessions[part]
        binding = session.io_binding()
        for name in (used.name for used in session.get_inputs()):
            bind = binding.bind_ortvalue_input if name in PYRAMID else binding.bind_cpu_input
            bind(name, inputs[name])
        names = [given.name for given in session.get_outputs()]
        for name in names:
            binding.bind_output(name, self._device if name in PYRAMID else "cpu")
        session.run_with_iobinding(binding)
        values = zip(names, binding.get_outputs(), strict=True)
        return {name: value if name in PYRAMID else value.numpy() for name, value in values}


def _options(provider: str, half: bool, cache_dir: Path | None) -> dict[str, str]:
    if provider != "TensorrtExecutionProvider":
        return {}
    options = {"trt_fp16_enable": "1" if half else "0"}
    if cache_dir is not None:
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache_dir)}
    return options


def _load(path: Path, providers: list[Provider]) -> Any:
    module = onnxruntime()
    options = module.SessionOptions()
    options.log_severity_level = 3
    try:
        session = module.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # noqa: BLE001  its exceptions have no other common base class
        raise EngineError(f"ONNX Runtime cannot load {path}: {str(error).strip().splitlines()[0]}") from None
    wanted = providers[0][0]
    if wanted not in session.get_providers():  # ONNX Runtime only logs this and uses the next provider
        raise EngineError(f"ONNX Runtime cannot start {wanted}: its libraries or its GPU are missing")
    return session
