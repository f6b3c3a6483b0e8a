"""Which engine computes the network, in which precision, and which follows when it cannot be made."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline.errors import InputError, RunError
from pipeline.installation import program_name
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.machine import MODULES, Machine
from pipeline.segmentation.network_model import NetworkModel
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision

if TYPE_CHECKING:
    from mrcnn.engines.base import Engine

logger = logging.getLogger(__name__)

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
_PROVIDERS = {Device.AUTO: ("tensorrt", "cuda", "cpu"), Device.CPU: ("cpu",), Device.GPU: ("tensorrt", "cuda")}

MEMORY_MARGIN = 2.0
"""Memory that must be left for another engine, as a multiple of what the largest so far took. One in float32 takes 1.5
(ResNet-101, 1024 px) to 1.7 times (R50-FPN v2) as much as in bfloat16; compiling took no more than remained."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine to make, or one that was made.

    Attributes:
        engine: never AUTO.
        precision: never AUTO.
        backend: what Keras runs on; None for the other engines.
        provider: what ONNX Runtime computes with, "tensorrt", "cuda" or "cpu"; None until it is made, and elsewhere.
        workers: how many of these engines compute side by side, each on its share of the cores; more than one only
            with OpenVINO.
        threads: of each engine; None for its share of the cores.
        reason: the measurement that led to it, in words; "" without one.
    """

    engine: EngineKind
    precision: Precision
    backend: BackendChoice | None = None
    provider: str | None = None
    workers: int = 1
    threads: int | None = None
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = " on the CPU"
        if self.backend is not None:
            backend = self.backend.backend.value
            where = f" with {backend}{_version(backend)}"
            where += " on the CPU" if self.backend.device is Device.CPU else f" on {self.backend.device_name}"
        elif self.engine is EngineKind.ONNX:
            where = _PROVIDER_TEXTS[self.provider]
        reason = f" (measured here: {self.reason})" if self.reason else ""
        return f"{_NAMES[self.engine]}{_version(*_DISTRIBUTIONS[self.engine])}{where}, {self.precision.value}{reason}"


class MemoryShortage(RunError):
    """There is too little memory for another engine."""


class EngineSelection:
    """The engines to try for a network, best first. More than one only where the settings leave a choice.

    Keras is the last resort, unless the settings name an engine, or int8, which only OpenVINO has.

    Args:
        model: the network.
        machine: what is installed and what the hardware can do.
        workers: how many engines may compute side by side: several pay off with OpenVINO only.

    Raises:
        InputError: what the settings name is not installed, or contradicts itself.
    """

    def __init__(self, model: NetworkModel, machine: Machine | None = None, workers: int = 1) -> None:
        self.model = model
        self.machine = machine or Machine()
        self.most_workers = workers
        self._settings = model.settings
        self._named = _named_engine(model.settings)
        _check_agreement(model.settings, self._named)
        self.choices = self._choices()
        self._used_before: int | None = None
        self._engine_bytes = 0  # what the largest so far took, compiled for its first canvas

    @property
    def precisions_to_time(self) -> list[EngineChoice]:
        """The choices between which only a measurement can decide, the most exact first; none where one is left."""
        choices = [choice for choice in self.choices if choice.engine is EngineKind.OPENVINO]
        choices.sort(key=lambda choice: -_PRECISIONS[EngineKind.OPENVINO].index(choice.precision))
        return choices if self._settings.precision is Precision.AUTO and len(choices) > 1 else []

    @property
    def workers_are_forced(self) -> bool:
        """Whether the settings say how many engines compute side by side."""
        return self._settings.workers is not None

    def make(self) -> tuple[Engine, EngineChoice]:
        """The first engine that can be made; and which it is.

        An engine that fails is named in a line of the log, with the one that follows.

        Raises:
            InputError: the last that was left cannot be made.
        """
        return self._make_first(self.choices)

    def make_next(self, failed: EngineChoice, reason: str) -> tuple[Engine, EngineChoice]:
        """What follows an engine that was made but cannot compute its first frame; `reason` is a line for the user.

        Raises:
            InputError: nothing may follow, or what is left cannot be made.
        """
        left = self._after(failed)
        if not left and not self._keras_may_follow:
            raise InputError(reason)
        logger.warning("%s; falling back to %s", reason, left[0] if left else "Keras")
        return self._make_first(left)

    def make_another(self, choice: EngineChoice) -> Engine:
        """One more engine of a choice that was made already, as long as there is memory for it.

        Raises:
            EngineError: it cannot be made.
            MemoryShortage: too little memory is left.
            InputError: the weights do not fit.
        """
        self._weigh()
        spare = self.machine.spare_memory()
        wanted = MEMORY_MARGIN * self._engine_bytes
        if spare is not None and spare < wanted:
            raise MemoryShortage(
                f"another engine needs {wanted / 1e6:.0f} MB of memory, twice what the largest so far took; "
                f"{spare / 1e6:.0f} MB are left"
            )
        return self._make(choice)[0]

    # -- choosing -----------------------------------------------------------------------------------------------------

    def _choices(self) -> list[EngineChoice]:
        settings, machine, named = self._settings, self.machine, self._named
        if named is EngineKind.KERAS:
            return [self._keras()]
        if named is EngineKind.AUTO and (keras := self._keras_on_gpu()) is not None:
            return [keras]
        wanted = [EngineKind.OPENVINO, EngineKind.ONNX] if named is EngineKind.AUTO else [named]
        installed = [kind for kind in wanted if machine.has(kind)]
        if named is not EngineKind.AUTO and not installed:
            raise InputError(f"the engine {named.value} is not installed: pip install {MODULES[named]}")
        if named is EngineKind.ONNX:
            self._check_providers()
        choices = [
            EngineChoice(kind, precision, workers=self.most_workers if kind is EngineKind.OPENVINO else 1)
            for kind in installed
            for precision in self._precisions(kind)
        ]
        if settings.precision is Precision.INT8:
            self._check_int8(choices)
        return choices or [self._keras()]

    def _precisions(self, engine: EngineKind) -> Iterator[Precision]:
        """Those worth trying, best first."""
        named = self._settings.precision
        if named is not Precision.AUTO:
            if named in _PRECISIONS[engine]:
                yield named
        elif engine is EngineKind.ONNX:
            yield Precision.FLOAT32
        else:
            if self.machine.int8_is_admissible(self.model):
                yield Precision.INT8
            if self.machine.has_bfloat16():
                yield Precision.BFLOAT16
            yield Precision.FLOAT32

    def _keras(self) -> EngineChoice:
        backend = self.machine.prepare_keras(self._settings.backend, self._settings.device)
        precision = self._settings.precision
        if precision is Precision.AUTO:
            precision = Precision.FLOAT16 if backend.device is Device.GPU else Precision.FLOAT32
        return EngineChoice(EngineKind.KERAS, precision, backend)

    def _keras_on_gpu(self) -> EngineChoice | None:
        """Keras, where a GPU may be used and Keras sees one; no other engine is as fast there."""
        settings = self._settings
        if settings.device is Device.CPU or settings.precision is Precision.INT8 or not self.machine.gpu_is_likely():
            return None
        try:
            choice = self._keras()
        except InputError as error:
            logger.debug("no Keras on the GPU: %s", error)
            return None
        return choice if choice.backend is not None and choice.backend.device is Device.GPU else None

    def _check_int8(self, choices: list[EngineChoice]) -> None:
        if not choices:
            raise InputError("precision int8 needs the engine openvino: pip install openvino")
        if not self.machine.int8_is_prepared(self.model):
            weights = self.model.weights.path
            raise InputError(
                f"int8 is not prepared for {weights}: run `{program_name()} optimize --weights {weights}` first"
            )

    def _check_providers(self) -> None:
        from mrcnn.engines.base import EngineError

        try:
            self._providers()
        except EngineError as error:
            raise InputError(str(error)) from None

    def _providers(self) -> list[str]:
        """What ONNX Runtime may compute with, the fastest first.

        Raises:
            EngineError: ONNX Runtime does not load, or has nothing for that device.
        """
        from mrcnn.engines.base import EngineError

        device = self._settings.device
        providers = [name for name in self.machine.onnx_providers() if name in _PROVIDERS[device]]
        if not providers:
            raise EngineError(
                f"--device {device.value}: this ONNX Runtime has neither CUDA nor TensorRT: "
                "pip install onnxruntime-gpu in place of onnxruntime, or use --device cpu"
            )
        return providers

    # -- making -------------------------------------------------------------------------------------------------------

    @property
    def _keras_may_follow(self) -> bool:
        return self._named is EngineKind.AUTO and self._settings.precision is not Precision.INT8

    def _after(self, failed: EngineChoice) -> list[EngineChoice]:
        """What is left to try; of ONNX Runtime, its slower providers too."""
        kinds = [(choice.engine, choice.precision) for choice in self.choices]
        left = self.choices[kinds.index((failed.engine, failed.precision)) + 1 :]
        if failed.provider is None:
            return left
        providers = self._providers()
        slower = providers[providers.index(failed.provider) + 1 :]
        return [*(replace(failed, provider=provider) for provider in slower), *left]

    def _make_first(self, choices: list[EngineChoice]) -> tuple[Engine, EngineChoice]:
        from mrcnn.engines.base import EngineError
        from mrcnn.engines.create import ExportFault

        left = list(choices)
        while left:
            choice = left.pop(0)
            try:
                return self._make(choice)
            except EngineError as error:
                if isinstance(error, ExportFault):
                    left.clear()  # all but Keras run what is exported
                if not left and not self._keras_may_follow:
                    raise InputError(str(error)) from None
                logger.warning("%s; falling back to %s", error, left[0] if left else "Keras")
        return self._make(self._keras())

    def _weigh(self) -> None:
        """Note by how much this process has grown since an engine was made last."""
        used = self.machine.used_memory()
        if used is not None and self._used_before is not None:
            self._engine_bytes = max(self._engine_bytes, used - self._used_before)
        self._used_before = used

    def _make(self, choice: EngineChoice) -> tuple[Engine, EngineChoice]:
        self._weigh()
        if choice.engine is EngineKind.KERAS:
            return self.machine.make_keras(self.model, choice.precision), choice
        if choice.engine is EngineKind.OPENVINO:
            threads = choice.threads or self.machine.threads(choice.workers)
            return self.machine.make_openvino(self.model, choice.precision, threads), choice
        return self._make_onnx(choice)

    def _make_onnx(self, choice: EngineChoice) -> tuple[Engine, EngineChoice]:
        """With the first provider that starts: the GPU package also names those whose libraries are missing."""
        from mrcnn.engines.base import EngineError

        *faster, last = self._providers() if choice.provider is None else [choice.provider]
        for provider in faster:
            try:
                engine = self.machine.make_onnx(self.model, choice.precision, provider)
            except EngineError as error:
                logger.debug("%s", error)
            else:
                return engine, replace(choice, provider=provider)
        return self.machine.make_onnx(self.model, choice.precision, last), replace(choice, provider=last)


def _named_engine(settings: ModelSettings) -> EngineKind:
    """The engine that the settings name; a Keras backend, or a GPU, means Keras."""
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


@functools.cache  # the description, which is compared after every frame, looked for files here
def _version(*distributions: str) -> str:
    """A blank and "1.32", for the first of these packages that is installed; "" where none is."""
    for name in distributions:
        try:
            release = importlib.metadata.version(name).split(".")
        except importlib.metadata.PackageNotFoundError:
            continue
        return " " + ".".join(release[:2])
    return ""
