"""Settings of the network: weights, engine, precision, batches, and restarts when it fails."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from pipeline.settings.section import LocalPath, Seconds, Section


class Device(Enum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class EngineKind(Enum):
    """The engine that computes the network."""

    AUTO = "auto"
    """Keras if it detects a GPU, otherwise the fastest installed: OpenVINO, ONNX Runtime, Keras on the CPU."""
    KERAS = "keras"
    OPENVINO = "openvino"
    ONNX = "onnx"


class Precision(Enum):
    """The data type in which convolutions and matrix products are computed."""

    AUTO = "auto"
    """The fastest that the engine has here: int8 only if the command `optimize` has prepared it."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class Backend(Enum):
    """The Keras backend."""

    AUTO = "auto"
    """The environment variable KERAS_BACKEND if set, otherwise the first installed of tensorflow, jax, torch."""
    TENSORFLOW = "tensorflow"
    JAX = "jax"
    TORCH = "torch"


class Canvas(Enum):
    """How a frame is padded for the network."""

    TIGHT = "tight"
    """The scale of Matterport's square mode, padded only to the next multiple of 32 on each side."""
    PAD64 = "pad64"
    """The same with multiples of 64, as in Matterport's mode of that name: on all levels up to P5, the picture is
    aligned with the cells as it is in the square."""
    SQUARE = "square"
    """Matterport's max_dim x max_dim square."""


class ModelSettings(Section):
    """The network and its thresholds. None takes the value in the weights file, otherwise Matterport's default."""

    weights: LocalPath | None = None
    labels: LocalPath | None = None
    max_dim: Annotated[int, Field(ge=128, le=4096, multiple_of=64)] | None = None
    canvas: Canvas = Canvas.TIGHT
    engine: EngineKind = EngineKind.AUTO
    precision: Precision = Precision.AUTO
    device: Device = Device.AUTO
    backend: Backend = Backend.AUTO
    batch_size: Annotated[int, Field(ge=1, le=64)] = 1
    workers: Annotated[int, Field(ge=1, le=16)] | None = None
    proposals: Annotated[int, Field(ge=1, le=6000)] | None = None
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    nms_threshold: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    max_instances: Annotated[int, Field(ge=1, le=1000)] | None = None
    classes: tuple[str, ...] = ()


class SupervisionSettings(Section):
    """Restarts the network when it fails or hangs, in live runs only."""

    restart: bool = False
    timeout_s: Annotated[float, Field(ge=0.1, le=3600.0)] = 10.0
    start_timeout_s: Annotated[float, Field(ge=0.1, le=3600.0)] = 300.0
    restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    within_s: Seconds = 600.0
