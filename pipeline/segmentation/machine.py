"""What this machine offers to engines: packages, processor features, GPUs; and how each engine is made.

Tests put another machine in its place. Loads no framework earlier than needed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.segmentation.backend import BackendChoice, prepare_backend
from pipeline.segmentation.network_model import NetworkModel
from pipeline.settings.model_settings import Backend, Device, EngineKind, Precision

if TYPE_CHECKING:
    from mrcnn.engines.base import Engine

MODULES = {EngineKind.OPENVINO: "openvino", EngineKind.ONNX: "onnxruntime", EngineKind.KERAS: "keras"}


class Machine:
    """This machine."""

    nvidia_signs = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")
    """Files that an NVIDIA driver makes."""

    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def has(self, engine: EngineKind) -> bool:
        """Whether the package of an engine is installed; that it loads is another matter."""
        return importlib.util.find_spec(MODULES[engine]) is not None

    def has_bfloat16(self) -> bool:
        """Whether the processor computes in bfloat16. False also where OpenVINO does not load: making it says why."""
        from mrcnn.engines.base import EngineError
        from mrcnn.engines.openvino_runtime import cpu_has_bfloat16

        try:
            return bool(cpu_has_bfloat16())
        except EngineError:
            return False

    def int8_is_prepared(self, model: NetworkModel) -> bool:
        """Whether `optimize` has prepared int8 for the network."""
        from mrcnn.engines.create import int8_is_there

        return bool(int8_is_there(model.weights.path, model.config))

    def onnx_providers(self) -> Sequence[str]:
        """What ONNX Runtime computes with: "tensorrt", "cuda", "cpu", fastest first. Raises EngineError."""
        from mrcnn.engines.onnx_runtime import available_providers

        return list(available_providers())

    def gpu_is_likely(self) -> bool:
        """Whether there are signs of an NVIDIA GPU; looking for it through a framework would take seconds."""
        if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
            return False
        return any(Path(sign).exists() for sign in self.nvidia_signs) or shutil.which("nvidia-smi") is not None

    def prepare_keras(self, backend: Backend, device: Device) -> BackendChoice:
        """Load Keras with a backend; see `prepare_backend`."""
        return prepare_backend(backend, device)

    def make_keras(self, model: NetworkModel, precision: Precision) -> Engine:
        """See `mrcnn.engines.create.create_keras_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_keras_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_keras_engine(model.weights.path, model.config, precision.value)
        except WeightsError as error:
            raise InputError(str(error)) from None

    def make_openvino(self, model: NetworkModel, precision: Precision, threads: int | None) -> Engine:
        """See `mrcnn.engines.create.create_openvino_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_openvino_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_openvino_engine(model.weights.path, model.config, precision.value, threads)
        except WeightsError as error:
            raise InputError(str(error)) from None

    def make_onnx(self, model: NetworkModel, precision: Precision, provider: str) -> Engine:
        """See `mrcnn.engines.create.create_onnx_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_onnx_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_onnx_engine(model.weights.path, model.config, precision.value, provider)
        except WeightsError as error:
            raise InputError(str(error)) from None
