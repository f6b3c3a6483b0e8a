"""The feature pyramid against numpy: lateral matrices, nearest upsampling, 3 x 3 convolutions of a single tap."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.network.fpn import build_fpn

pytestmark = pytest.mark.usefixtures("zero_start")

CHANNELS = 2
SHAPES = {2: (16, 24, 3), 3: (8, 12, 4), 4: (4, 6, 5), 5: (2, 3, 6)}
"""C2 to C5: rows, columns, channels."""


class Narrow(Config):
    TOP_DOWN_PYRAMID_SIZE = CHANNELS


@pytest.fixture(scope="module")
def pyramid():
    stages = [keras.Input(shape) for shape in SHAPES.values()]
    return keras.Model(stages, build_fpn(stages, Narrow))


@pytest.fixture(scope="module")
def stages():
    rng = np.random.default_rng(2)
    return {level: rng.normal(size=(2, *shape)).astype(np.float32) for level, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def merged(pyramid, stages):
    """Sets random lateral matrices and biases; gives what numpy makes of them, by level."""
    rng = np.random.default_rng(3)
    levels, above = {}, None
    for level in (5, 4, 3, 2):
        matrix, bias = rng.normal(size=(SHAPES[level][2], CHANNELS)), rng.normal(size=CHANNELS)
        pyramid.get_layer(f"fpn_c{level}p{level}").set_weights([matrix[None, None], bias])
        lateral = stages[level] @ matrix + bias
        above = lateral if above is None else lateral + above.repeat(2, axis=1).repeat(2, axis=2)
        levels[level] = above
    return levels


def run(pyramid, stages, tap):
    """P2 to P6 where every 3 x 3 convolution has the identity at one tap and a bias of (10, 20)."""
    kernel = np.zeros((3, 3, CHANNELS, CHANNELS))
    kernel[tap] = np.eye(CHANNELS)
    for level in SHAPES:
        pyramid.get_layer(f"fpn_p{level}").set_weights([kernel, np.array([10.0, 20.0])])
    return [ops.convert_to_numpy(level) - [10, 20] for level in pyramid([stages[level] for level in SHAPES])]


def test_levels_are_laterals_and_what_comes_from_above(pyramid, stages, merged):
    found = run(pyramid, stages, (1, 1))
    assert [level.shape for level in found] == [
        (2, 16, 24, 2),
        (2, 8, 12, 2),
        (2, 4, 6, 2),
        (2, 2, 3, 2),
        (2, 1, 2, 2),
    ]
    for level, output in zip(SHAPES, found, strict=False):
        np.testing.assert_allclose(output, merged[level], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found[4], found[3][:, ::2, ::2])


def test_the_last_convolutions_keep_the_size_with_zeros_around(pyramid, stages, merged):
    found = run(pyramid, stages, (0, 2))  # one row above, one column to the right
    for level, output in zip(SHAPES, found, strict=False):
        expected = np.zeros_like(merged[level])
        expected[:, 1:, :-1] = merged[level][:, :-1, 1:]
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4)
