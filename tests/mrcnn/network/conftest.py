"""What the tests of the network's parts share."""

from unittest import mock

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def zero_start():
    """Kernels begin at 0 instead of random numbers, whose making JAX compiles anew for every shape."""
    with mock.patch.object(
        keras.initializers.GlorotUniform, "__call__", lambda self, shape, dtype=None: np.zeros(shape, "float32")
    ):
        yield
