"""Batch normalization with the semantics of Config.TRAIN_BN, and its scale and shift for folding."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from mrcnn.architecture import MATTERPORT, architecture_of
from mrcnn.config import Config


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(layers.BatchNormalization):
    """Batch normalization whose use of batch statistics depends on a setting, not only on the training phase.

    Keras passes the `training` argument of the outermost call to every layer and overrides what the layer was called
    with when the model was built.
    """

    def __init__(self, train_bn: bool | None = False, epsilon: float = MATTERPORT.norm_epsilon, **kwargs):
        """Store the settings.

        Args:
            train_bn: False: always use the moving statistics (gamma and beta stay trainable). None: use the batch's
                statistics in training. True: always use the batch's statistics.
            epsilon: summand of the variance.
            **kwargs: see keras.layers.BatchNormalization.
        """
        super().__init__(epsilon=epsilon, **kwargs)
        self.train_bn = train_bn

    def call(self, inputs, training=None, mask=None):
        """Normalize (..., C)."""
        return super().call(inputs, training=training if self.train_bn is None else self.train_bn, mask=mask)

    def get_config(self):
        """Constructor arguments, for serialization."""
        return {**super().get_config(), "train_bn": self.train_bn}


def batch_norm(x, name: str, config: Config):
    """Normalize x (..., C) as ARCHITECTURE and TRAIN_BN of a Config say, with a layer of that name."""
    return BatchNorm(config.TRAIN_BN, architecture_of(config).norm_epsilon, name=name)(x)


def uses_batch_statistics(norm: layers.BatchNormalization) -> bool:
    """Whether the layer normalizes with the batch's statistics also at inference (TRAIN_BN True)."""
    return getattr(norm, "train_bn", False) is True


def scale_and_shift(norm: layers.BatchNormalization) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normalization with the moving statistics as one factor and one summand per channel: float64 (C,) each.

    Ioffe & Szegedy 2015, section 3.1: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta.
    """
    mean, variance = (
        keras.ops.convert_to_numpy(variable).astype(np.float64) for variable in (norm.moving_mean, norm.moving_variance)
    )
    gamma = keras.ops.convert_to_numpy(norm.gamma).astype(np.float64) if norm.scale else np.ones_like(mean)
    beta = keras.ops.convert_to_numpy(norm.beta).astype(np.float64) if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale
