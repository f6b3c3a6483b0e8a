"""Batch normalization by its formula (Ioffe & Szegedy 2015, section 3).

gamma (x - mean) / sqrt(variance + 1e-3) + beta.
"""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.norm import BatchNorm

GAMMA, BETA = np.array([2.0, 0.5]), np.array([1.0, -3.0])
MEAN, VARIANCE = np.array([0.25, -1.0]), np.array([4.0, 0.01])
X = np.random.default_rng(1).normal(3, 2, (2, 3, 5, 2)).astype(np.float32)


def layer_of(train_bn):
    layer = BatchNorm(train_bn, name="bn")
    layer.build(X.shape)
    layer.set_weights([GAMMA, BETA, MEAN, VARIANCE])
    return layer


def by_hand(mean, variance):
    return GAMMA * (X - mean) / np.sqrt(variance + 1e-3) + BETA


@pytest.mark.parametrize(
    ("train_bn", "training", "of_batch"),
    [
        (False, True, False),
        (False, False, False),
        (None, True, True),
        (None, False, False),
        (None, None, False),
        (True, True, True),
        (True, False, True),
    ],
)
def test_the_setting_says_whose_statistics_are_used(train_bn, training, of_batch):
    found = ops.convert_to_numpy(layer_of(train_bn)(X, training=training))
    stored, batch = by_hand(MEAN, VARIANCE), by_hand(X.mean((0, 1, 2)), X.var((0, 1, 2)))
    np.testing.assert_allclose(found, batch if of_batch else stored, rtol=1e-4, atol=1e-4)


def test_the_phase_of_a_model_does_not_reach_frozen_statistics():
    image = keras.Input(X.shape[1:])
    model = keras.Model(image, layer_of(False)(image))
    np.testing.assert_allclose(ops.convert_to_numpy(model(X, training=True)), by_hand(MEAN, VARIANCE), rtol=1e-4)
    np.testing.assert_array_equal(model.get_layer("bn").get_weights()[2], MEAN.astype(np.float32))


@pytest.mark.parametrize("train_bn", [False, None, True])
def test_a_copy_has_the_setting(train_bn):
    layer = BatchNorm.from_config(BatchNorm(train_bn, name="bn1", momentum=0.9).get_config())
    assert (layer.train_bn, layer.name, layer.momentum, layer.epsilon) == (train_bn, "bn1", 0.9, 1e-3)
