"""What a program is compiled for: a processor, or an accelerator (a GPU, a TPU) that must not be kept waiting.

The two want different programs for the same result. A processor is served best by the backend's own ops and by loops
that stop early; an accelerator by one program of static shapes that does many things at once and asks the host nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

import keras


class Target(Enum):
    """Which kind of device."""

    PROCESSOR = "processor"
    ACCELERATOR = "accelerator"


_asked: ContextVar[Target | None] = ContextVar("target", default=None)


def target() -> Target:
    """What the program that is being traced is for.

    Outside `tracing_for` (in training) it is where the Keras backend computes; but TensorFlow's own ops run on a GPU
    too, and are its choice wherever XLA was not asked for.
    """
    asked = _asked.get()
    if asked is not None:
        return asked
    return Target.PROCESSOR if keras.backend.backend() == "tensorflow" else default_target()


@contextmanager
def tracing_for(asked: Target) -> Iterator[None]:
    """Inside the block, in this thread, `target()` answers so."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def default_target() -> Target:
    """ACCELERATOR if the Keras backend computes on one."""
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
