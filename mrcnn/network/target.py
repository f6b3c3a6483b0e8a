"""The kind of device that a program is compiled for: a processor or an accelerator (GPU, TPU).

Each kind needs its own program for the same result. A processor is fastest with the backend's native ops and loops that
stop early; an accelerator with one program of static shapes, wide parallelism and no round trips to the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

import keras


class Target(Enum):
    """Kind of device."""

    PROCESSOR = "processor"
    ACCELERATOR = "accelerator"


_tracing_target: ContextVar[Target | None] = ContextVar("target", default=None)


def target() -> Target:
    """The target of the program that is being traced.

    Outside `tracing_for` (in training), it is the kind of device that the Keras backend computes on. The exception is
    TensorFlow, whose native ops also run on a GPU: without XLA they are used everywhere.
    """
    traced_for = _tracing_target.get()
    if traced_for is not None:
        return traced_for
    return Target.PROCESSOR if keras.backend.backend() == "tensorflow" else default_target()


@contextmanager
def tracing_for(traced_for: Target) -> Iterator[None]:
    """Make `target()` return `traced_for` inside the block, in this thread."""
    token = _tracing_target.set(traced_for)
    try:
        yield
    finally:
        _tracing_target.reset(token)


def default_target() -> Target:
    """ACCELERATOR if the Keras backend computes on one, otherwise PROCESSOR."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        is_accelerated = bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
    elif backend == "jax":
        import jax

        is_accelerated = jax.default_backend() != "cpu"
    else:
        import torch

        is_accelerated = torch.cuda.is_available()
    return Target.ACCELERATOR if is_accelerated else Target.PROCESSOR
