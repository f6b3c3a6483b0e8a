"""Which engine computes the network, in which precision, and how it is made. Loads no framework before it must."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.backend import BackendChoice, prepare_backend
from pipeline.errors import InputError
from pipeline.settings import Backend, Device, EngineKind, ModelSettings, Precision

logger = logging.getLogger(__name__)

_MODULES = {EngineKind.OPENVINO: "openvino", EngineKind.ONNX: "onnxruntime", EngineKind.KERAS: "keras"}
_PRECISIONS = {
    EngineKind.OPENVINO: (Precision.INT8, Precision.BFLOAT16, Precision.FLOAT32),
    EngineKind.ONNX: (Precision.FLOAT32, Precision.FLOAT16),
    EngineKind.KERAS: (Precision.FLOAT32, Precision.FLOAT16, Precision.BFLOAT16),
}
_NVIDIA_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """An engine that is to be made.

    Attributes:
        engine: never AUTO.
        precision: never AUTO.
        backend: what Keras runs on; None for the other engines.
    """

    engine: EngineKind
    precision: Precision
    backend: BackendChoice | None = None

    def __str__(self) -> str:
        if self.backend is not None:
            where = f"Keras on {self.backend.backend.value}, {self.backend.device_name}"
        else:
            where = {EngineKind.OPENVINO: "OpenVINO, CPU", EngineKind.ONNX: "ONNX Runtime"}[self.engine]
        return f"{where}, {self.precision.value}"


def plan_engines(settings: ModelSettings, weights: Path, config: Any) -> list[EnginePlan]:
    """The engines to try, best first. More than one only where the settings leave a choice.

    Args:
        settings: engine, precision, device and backend count.
        weights: the weight file.
        config: the Config of its network.

    Raises:
        InputError: what is asked for is not installed, or contradicts itself.
    """
    engine = _asked_engine(settings)
    _check_agreement(settings, engine)
    if engine is EngineKind.KERAS:
        return [_keras_plan(settings)]
    if engine is EngineKind.AUTO and settings.device is not Device.CPU and gpu_is_likely():
        keras = _keras_plan(settings)
        if keras.backend is not None and keras.backend.device is Device.GPU:
            return [keras]
    wanted = [EngineKind.OPENVINO, EngineKind.ONNX] if engine is EngineKind.AUTO else [engine]
    plans = [
        EnginePlan(kind, precision)
        for kind in wanted
        if _is_installed(kind)
        for precision in _precisions(kind, settings.precision, weights, config)
    ]
    if not plans and engine is not EngineKind.AUTO:
        raise InputError(f"the engine {engine.value} is not installed: pip install {_MODULES[engine]}")
    if engine is EngineKind.AUTO and settings.precision is not Precision.INT8:
        # Keras comes last, and is not loaded before it is needed
        return plans or [_keras_plan(settings)]
    if not plans:
        raise InputError("precision int8 needs the engine openvino: pip install openvino")
    return plans


def make_engine(plans: list[EnginePlan], settings: ModelSettings, weights: Path, config: Any) -> tuple[Any, EnginePlan]:
    """The first of the planned engines that can be made, ready for its first frame; and which it is.

    An engine that fails is named in a line of the log, unless it was the only choice; Keras is the last resort where
    none was asked for.

    Raises:
        InputError: the only one that was left cannot be made.
    """
    from mrcnn.engines.base import EngineError

    may_fall_back = _asked_engine(settings) is EngineKind.AUTO
    for plan in plans:
        is_last = plan is plans[-1]
        try:
            return _make(plan, weights, config), plan
        except EngineError as error:
            if is_last and not may_fall_back:
                raise InputError(str(error)) from None
            logger.warning("%s; going on with the next best engine", error)
    keras = _keras_plan(settings)
    return _make(keras, weights, config), keras


def gpu_is_likely() -> bool:
    """Whether there are signs of an NVIDIA GPU; looking for it through a framework would take seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return any(Path(sign).exists() for sign in _NVIDIA_SIGNS) or shutil.which("nvidia-smi") is not None


def _asked_engine(settings: ModelSettings) -> EngineKind:
    """A named Keras backend, or a GPU, asks for Keras."""
    keras_only = settings.backend is not Backend.AUTO or settings.device is Device.GPU
    return EngineKind.KERAS if settings.engine is EngineKind.AUTO and keras_only else settings.engine


def _check_agreement(settings: ModelSettings, engine: EngineKind) -> None:
    if engine in (EngineKind.OPENVINO, EngineKind.ONNX) and settings.backend is not Backend.AUTO:
        raise InputError(
            f"model.backend {settings.backend.value} is a backend of Keras: leave it out with the engine {engine.value}"
        )
    if engine is EngineKind.OPENVINO and settings.device is Device.GPU:
        raise InputError("the engine openvino runs on the CPU here: use device cpu, or the engine keras or onnx")
    known = _PRECISIONS.get(engine)
    if known is not None and settings.precision is not Precision.AUTO and settings.precision not in known:
        names = ", ".join(precision.value for precision in known)
        raise InputError(f"the engine {engine.value} has no precision {settings.precision.value}; it has {names}")


def _is_installed(engine: EngineKind) -> bool:
    return importlib.util.find_spec(_MODULES[engine]) is not None


def _keras_plan(settings: ModelSettings) -> EnginePlan:
    backend = prepare_backend(settings.backend, settings.device)
    precision = settings.precision
    if precision is Precision.AUTO:
        precision = Precision.FLOAT16 if backend.device is Device.GPU else Precision.FLOAT32
    if precision is Precision.INT8:
        raise InputError("the engine keras has no precision int8; it has float32, float16, bfloat16")
    return EnginePlan(EngineKind.KERAS, precision, backend)


def _precisions(engine: EngineKind, asked: Precision, weights: Path, config: Any) -> Iterator[Precision]:
    """Those worth trying, best first."""
    if asked is not Precision.AUTO:
        if asked in _PRECISIONS[engine]:
            yield asked
    elif engine is EngineKind.ONNX:
        yield Precision.FLOAT32
    else:
        from mrcnn.engines.create import int8_is_there
        from mrcnn.engines.openvino_runtime import cpu_has_bfloat16

        if int8_is_there(weights, config):
            yield Precision.INT8
        if cpu_has_bfloat16():
            yield Precision.BFLOAT16
        yield Precision.FLOAT32


def _make(plan: EnginePlan, weights: Path, config: Any) -> Any:
    from mrcnn.checkpoint import WeightsError
    from mrcnn.engines.create import create_keras_engine, create_onnx_engine, create_openvino_engine

    try:
        if plan.engine is EngineKind.KERAS:
            return create_keras_engine(weights, config, plan.precision.value)
        if plan.engine is EngineKind.OPENVINO:
            return create_openvino_engine(weights, config, plan.precision.value)
        return create_onnx_engine(weights, config, plan.precision.value)
    except WeightsError as error:
        raise InputError(str(error)) from None
