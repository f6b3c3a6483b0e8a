"""EfficientNet-Lite0: shapes, padding and arithmetic of its blocks."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.efficientnet import BLOCK_GROUPS, BlockGroup, build_efficientnet_lite0, inverted_residual


@pytest.fixture(scope="module")
def backbone():
    image = keras.Input((128, 192, 3))
    return keras.Model(image, build_efficientnet_lite0(image))


def test_stages_have_the_strides_and_widths_of_the_paper(backbone):
    shapes = [tuple(output.shape[1:]) for output in backbone.outputs]
    assert shapes == [(32, 48, 24), (16, 24, 40), (8, 12, 112), (4, 6, 320)]


def test_sixteen_blocks_and_the_papers_number_of_weights(backbone):
    depthwise = [layer.name for layer in backbone.layers if layer.name.endswith("_depthwise")]
    assert depthwise == [f"lite0_block{index}_depthwise" for index in range(16)]
    kernels = sum(int(np.prod(weight.shape)) for weight in backbone.weights if weight.path.endswith("kernel"))
    assert kernels == sum(_kernel_sizes())
    # published: 4.65 million with 1000 classes: less the classifier, its 1x1 convolution and every normalization
    assert kernels == pytest.approx(4_652_008 - 1_281_000 - 320 * 1280, abs=60_000)


def _kernel_sizes():
    """Weights of the kernels from the table alone."""
    yield 3 * 3 * 3 * 32
    filters = 32
    for group in BLOCK_GROUPS:
        for _ in range(group.repeats):
            wide = filters * group.expansion
            if group.expansion > 1:
                yield filters * wide
            yield group.kernel**2 * wide
            yield wide * group.filters
            filters = group.filters


def test_stride_two_pads_below_and_right_as_tensorflow_does():
    image = keras.Input((4, 6, 1))
    group = BlockGroup(1, 3, 2, 1, 1)
    model = keras.Model(image, inverted_residual(image, group, 2, "block"))
    model.get_layer("block_depthwise").set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
    model.get_layer("block_project").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    picture = np.zeros((1, 4, 6, 1), np.float32)
    picture[0, 3, 5] = 5  # the last pixel
    picture[0, 1, 1] = 1  # padded above and left, the first window would end before it
    found = ops.convert_to_numpy(model(picture))[0, ..., 0]
    # windows start at rows 0, 2 and columns 0, 2, 4; the last one hangs over the edge by one pixel
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0, 5]])


def test_activations_stop_at_six_and_projections_do_not():
    image = keras.Input((2, 2, 1))
    model = keras.Model(image, inverted_residual(image, BlockGroup(1, 3, 1, 6, 1), 1, "block"))
    model.get_layer("block_expand").set_weights([np.full((1, 1, 1, 6), 100.0), np.zeros(6)])
    kernel = np.zeros((3, 3, 6, 1))
    kernel[1, 1] = 1
    model.get_layer("block_depthwise").set_weights([kernel, np.zeros(6)])
    model.get_layer("block_project").set_weights([np.ones((1, 1, 6, 1)), np.array([0.5])])
    found = ops.convert_to_numpy(model(np.array([[[[1.0], [2.0]], [[-1.0], [0.01]]]], np.float32)))[0, ..., 0]
    # six channels of min(100 x, 6), summed, plus the bias, plus the skip
    np.testing.assert_allclose(found, [[36.5 + 1, 36.5 + 2], [0.5 - 1, 6 + 0.5 + 0.01]], rtol=1e-5)


def test_pixels_are_scaled_inside():
    image = keras.Input((64, 64, 3))
    model = keras.Model(image, build_efficientnet_lite0(image))
    first = keras.Model(image, model.get_layer("lite0_rescale").output)
    found = ops.convert_to_numpy(first(np.full((1, 64, 64, 3), 64.0, np.float32)))
    np.testing.assert_allclose(found, 0.5)
