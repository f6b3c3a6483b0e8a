"""Chooses the Keras backend and the device, before Keras is imported for the first time."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.installation import install_command
from pipeline.settings.model_settings import Backend, Device

_NOISE = re.compile(rb"^(WARNING: All log messages before absl|[IWE]\d{4} )")
"""Lines that TensorFlow's C++ side writes while it loads; no setting of its own suppresses them."""

_MODULES = {Backend.TENSORFLOW: "tensorflow", Backend.JAX: "jax", Backend.TORCH: "torch"}


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """What the network runs on.

    Attributes:
        backend: never AUTO.
        device: CPU or GPU, never AUTO.
        device_name: the backend's name for it ("NVIDIA H100", "CPU").
    """

    backend: Backend
    device: Device
    device_name: str


def choose_backend(backend: Backend, environment: str | None, loaded: str | None = None) -> Backend:
    """Which backend to use.

    Args:
        backend: the setting.
        environment: the value of KERAS_BACKEND, if set.
        loaded: the backend of a Keras that is already imported, which cannot change any more; None if it is not.

    Raises:
        InputError: it is unknown, not installed, or Keras is already loaded with another.
    """
    if loaded is not None:
        if backend not in (Backend.AUTO, Backend(loaded)):
            raise InputError(f"Keras is already loaded with {loaded}; {backend.value} cannot be used in this process")
        return Backend(loaded)
    if backend is Backend.AUTO and environment:
        names = [choice.value for choice in _MODULES]
        if environment not in names:
            raise InputError(f"KERAS_BACKEND must be one of {', '.join(names)}, got {environment!r}")
        backend = Backend(environment)
    if backend is Backend.AUTO:
        for choice, module in _MODULES.items():
            if importlib.util.find_spec(module) is not None:
                return choice
        raise InputError(
            f"Keras needs a backend: {install_command(Backend.TENSORFLOW.value)} (or with the extra gpu, jax or torch)"
        )
    if importlib.util.find_spec(_MODULES[backend]) is None:
        raise InputError(f"the backend {backend.value} is not installed: {install_command(backend.value)}")
    return backend


def prepare_backend(backend: Backend, device: Device) -> BackendChoice:
    """Set the environment for Keras, load the backend, and find its device.

    Call it while no other thread writes to standard error: TensorFlow's messages are filtered while it loads.

    Raises:
        InputError: the backend or the device is not there.
    """
    loaded = sys.modules["keras"].backend.backend() if "keras" in sys.modules else None
    chosen = choose_backend(backend, os.environ.get("KERAS_BACKEND"), loaded)
    os.environ["KERAS_BACKEND"] = chosen.value
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if device is Device.CPU and _MODULES[chosen] not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    with _without_noise():
        importlib.import_module(_MODULES[chosen])
        gpu_name = None if device is Device.CPU else _gpu_name(chosen)
    if device is Device.GPU and gpu_name is None:
        raise InputError(
            f"--device gpu: {chosen.value} sees no GPU here; install tensorflow[and-cuda], jax[cuda12] or "
            "torch, and a driver, or use --device cpu"
        )
    if gpu_name is None:
        return BackendChoice(chosen, Device.CPU, "CPU")
    return BackendChoice(chosen, Device.GPU, gpu_name)


def _gpu_name(backend: Backend) -> str | None:
    if backend is Backend.TENSORFLOW:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")) if gpus else None
    if backend is Backend.JAX:
        import jax

        gpus = [device for device in jax.devices() if device.platform != "cpu"]
        return str(gpus[0].device_kind) if gpus else None
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Capture standard error inside the block; afterwards write out all but the known noise."""
    if sys.stderr is not None:  # None where it is closed, and under pythonw
        sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(real, line)
            os.close(real)
