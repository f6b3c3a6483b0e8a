"""Which engine computes the network, in which precision, and how it is made. Loads no framework before it must."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.installation import program_name
from pipeline.segmentation.backend import BackendChoice, prepare_backend
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision

logger = logging.getLogger(__name__)

_MODULES = {EngineKind.OPENVINO: "openvino", EngineKind.ONNX: "onnxruntime", EngineKind.KERAS: "keras"}
_PRECISIONS = {
    EngineKind.OPENVINO: (Precision.INT8, Precision.BFLOAT16, Precision.FLOAT32),
    EngineKind.ONNX: (Precision.FLOAT32, Precision.FLOAT16),
    EngineKind.KERAS: (Precision.FLOAT32, Precision.FLOAT16, Precision.BFLOAT16),
}
_NAMES = {EngineKind.OPENVINO: "OpenVINO", EngineKind.ONNX: "ONNX Runtime", EngineKind.KERAS: "Keras"}
_DISTRIBUTIONS = {
    EngineKind.OPENVINO: ("openvino",),
    EngineKind.ONNX: ("onnxruntime", "onnxruntime-gpu"),
    EngineKind.KERAS: ("keras",),
}
_PROVIDER_TEXTS = {None: "", "cpu": " on the CPU", "cuda": " with CUDA", "tensorrt": " with TensorRT"}
_NVIDIA_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """An engine that is to be made, or that was made.

    Attributes:
        engine: never AUTO.
        precision: never AUTO.
        backend: what Keras runs on; None for the other engines.
        provider: what ONNX Runtime computes with, "tensorrt", "cuda" or "cpu"; None until it is made, and elsewhere.
    """

    engine: EngineKind
    precision: Precision
    backend: BackendChoice | None = None
    provider: str | None = None

    def __str__(self) -> str:
        where = " on the CPU"
        if self.backend is not None:
            backend = self.backend.backend.value
            where = f" with {backend}{_version(backend)}"
            where += " on the CPU" if self.backend.device is Device.CPU else f" on {self.backend.device_name}"
        elif self.engine is EngineKind.ONNX:
            where = _PROVIDER_TEXTS[self.provider]
        return f"{_NAMES[self.engine]}{_version(*_DISTRIBUTIONS[self.engine])}{where}, {self.precision.value}"


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
    if engine is EngineKind.AUTO and (keras := _keras_on_gpu(settings)) is not None:
        return [keras]
    wanted = [EngineKind.OPENVINO, EngineKind.ONNX] if engine is EngineKind.AUTO else [engine]
    installed = [kind for kind in wanted if _is_installed(kind)]
    if engine is not EngineKind.AUTO and not installed:
        raise InputError(f"the engine {engine.value} is not installed: pip install {_MODULES[engine]}")
    if engine is EngineKind.ONNX:
        _check_providers(settings.device)
    plans = [
        EnginePlan(kind, precision)
        for kind in installed
        for precision in _precisions(kind, settings.precision, weights, config)
    ]
    if settings.precision is Precision.INT8:
        _check_int8(plans, weights, config)
    return plans or [_keras_plan(settings)]


def make_engine(
    plans: list[EnginePlan], settings: ModelSettings, weights: Path, config: Any, threads: int | None = None
) -> tuple[Any, EnginePlan]:
    """The first of the planned engines that can be made; and which it is.

    An engine that fails is named in a line of the log, with what comes next. Keras is the last resort, unless an engine
    was asked for, or int8, which only OpenVINO has.

    Args:
        plans: what `plan_engines` gave.
        settings, weights, config: as there.
        threads: of the CPU, for OpenVINO; None: as many as it has cores.

    Raises:
        InputError: the last that was left cannot be made.
    """
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.exported import ExportFault

    keras_may_follow = _keras_may_follow(settings)
    left = list(plans)
    while left:
        plan = left.pop(0)
        try:
            return _make(plan, settings.device, weights, config, threads)
        except EngineError as error:
            if isinstance(error, ExportFault):
                left.clear()  # all but Keras run what is exported
            if not left and not keras_may_follow:
                raise InputError(str(error)) from None
            logger.warning("%s; going on with %s", error, left[0] if left else "Keras")
    return _make(_keras_plan(settings), settings.device, weights, config, None)


def make_another(
    plan: EnginePlan, settings: ModelSettings, weights: Path, config: Any, threads: int | None = None
) -> Any:
    """One more engine of a plan that was made already.

    Raises:
        EngineError: it cannot be made.
        InputError: the weights do not fit.
    """
    return _make(plan, settings.device, weights, config, threads)[0]


def make_next(
    failed: EnginePlan,
    reason: str,
    plans: list[EnginePlan],
    settings: ModelSettings,
    weights: Path,
    config: Any,
    threads: int | None = None,
) -> tuple[Any, EnginePlan]:
    """What follows an engine that was made but cannot compute its first frame; as `make_engine` otherwise.

    Args:
        failed: the plan of that engine.
        reason: one line for the user.
        plans: what `plan_engines` gave.
        settings, weights, config, threads: as for `make_engine`.

    Raises:
        InputError: nothing may follow, or what is left cannot be made.
    """
    left = _plans_after(failed, plans, settings.device)
    if not left and not _keras_may_follow(settings):
        raise InputError(reason)
    logger.warning("%s; going on with %s", reason, left[0] if left else "Keras")
    return make_engine(left, settings, weights, config, threads)


def _plans_after(failed: EnginePlan, plans: list[EnginePlan], device: Device) -> list[EnginePlan]:
    """What is left to try; of ONNX Runtime, its slower providers too."""
    kinds = [(plan.engine, plan.precision) for plan in plans]
    left = plans[kinds.index((failed.engine, failed.precision)) + 1 :]
    if failed.provider is None:
        return left
    providers = _providers(device)
    slower = providers[providers.index(failed.provider) + 1 :]
    return [*(replace(failed, provider=provider) for provider in slower), *left]


def _keras_may_follow(settings: ModelSettings) -> bool:
    return _asked_engine(settings) is EngineKind.AUTO and settings.precision is not Precision.INT8


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


def _keras_on_gpu(settings: ModelSettings) -> EnginePlan | None:
    """Keras, where a GPU may be used and Keras sees one; no other engine is as fast there."""
    if settings.device is Device.CPU or settings.precision is Precision.INT8 or not gpu_is_likely():
        return None
    try:
        plan = _keras_plan(settings)
    except InputError as error:
        logger.debug("no Keras on the GPU: %s", error)
        return None
    return plan if plan.backend is not None and plan.backend.device is Device.GPU else None


def _keras_plan(settings: ModelSettings) -> EnginePlan:
    backend = prepare_backend(settings.backend, settings.device)
    precision = settings.precision
    if precision is Precision.AUTO:
        precision = Precision.FLOAT16 if backend.device is Device.GPU else Precision.FLOAT32
    return EnginePlan(EngineKind.KERAS, precision, backend)


def _check_int8(plans: list[EnginePlan], weights: Path, config: Any) -> None:
    from mrcnn.engines.create import int8_is_there

    if not plans:
        raise InputError("precision int8 needs the engine openvino: pip install openvino")
    if not int8_is_there(weights, config):
        raise InputError(
            f"int8 is not prepared for {weights}: run `{program_name()} optimize --weights {weights}` first"
        )


def _check_providers(device: Device) -> None:
    from mrcnn.engines.base import EngineError

    try:
        _providers(device)
    except EngineError as error:
        raise InputError(str(error)) from None


def _providers(device: Device) -> list[str]:
    """What ONNX Runtime may compute with, the fastest first.

    Raises:
        EngineError: ONNX Runtime does not load, or has nothing for that device.
    """
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.onnx_runtime import available_providers

    known = {Device.AUTO: ("tensorrt", "cuda", "cpu"), Device.CPU: ("cpu",), Device.GPU: ("tensorrt", "cuda")}[device]
    there = [name for name in available_providers() if name in known]
    if not there:
        raise EngineError(
            f"--device {device.value}: this ONNX Runtime has neither CUDA nor TensorRT: "
            "pip install onnxruntime-gpu in place of onnxruntime, or use --device cpu"
        )
    return there


def _precisions(engine: EngineKind, asked: Precision, weights: Path, config: Any) -> Iterator[Precision]:
    """Those worth trying, best first."""
    if asked is not Precision.AUTO:
        if asked in _PRECISIONS[engine]:
            yield asked
    elif engine is EngineKind.ONNX:
        yield Precision.FLOAT32
    else:
        from mrcnn.engines.create import int8_is_there

        if int8_is_there(weights, config):
            yield Precision.INT8
        if _cpu_has_bfloat16():
            yield Precision.BFLOAT16
        yield Precision.FLOAT32


def _cpu_has_bfloat16() -> bool:
    """False also where OpenVINO does not load: making it will say why."""
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.openvino_runtime import cpu_has_bfloat16

    try:
        return bool(cpu_has_bfloat16())
    except EngineError:
        return False


def _make(plan: EnginePlan, device: Device, weights: Path, config: Any, threads: int | None) -> tuple[Any, EnginePlan]:
    from mrcnn.engines.create import create_keras_engine, create_openvino_engine
    from mrcnn.weights.checkpoint import WeightsError

    try:
        if plan.engine is EngineKind.KERAS:
            return create_keras_engine(weights, config, plan.precision.value), plan
        if plan.engine is EngineKind.OPENVINO:
            return create_openvino_engine(weights, config, plan.precision.value, threads), plan
        return _make_onnx(plan, device, weights, config)
    except WeightsError as error:
        raise InputError(str(error)) from None


def _make_onnx(plan: EnginePlan, device: Device, weights: Path, config: Any) -> tuple[Any, EnginePlan]:
    """With the first provider that starts: the GPU package names those whose libraries are not there, too."""
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.create import create_onnx_engine

    *faster, last = _providers(device) if plan.provider is None else [plan.provider]
    for provider in faster:
        try:
            return create_onnx_engine(weights, config, plan.precision.value, provider), replace(plan, provider=provider)
        except EngineError as error:
            logger.debug("%s", error)
    return create_onnx_engine(weights, config, plan.precision.value, last), replace(plan, provider=last)


def _version(*distributions: str) -> str:
    """A blank and "1.32", for the first of these packages that is installed; "" where none is."""
    for name in distributions:
        try:
            release = importlib.metadata.version(name).split(".")
        except importlib.metadata.PackageNotFoundError:
            continue
        return " " + ".".join(release[:2])
    return ""
