"""Keras' global precision policy for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def keras_policy(name: str) -> Iterator[None]:
    """Lets layers that are made inside the block compute with a policy, such as "float32" or "mixed_bfloat16"."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
