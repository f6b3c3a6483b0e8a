"""Batch normalization as Config.TRAIN_BN asks for it."""

from __future__ import annotations

import keras
from keras import layers

BATCH_NORM_EPSILON = 1e-3
"""Keras' default, which the weight files of Matterport's package were trained with."""


@keras.saving.register_keras_serializable(package="mrcnn")
class BatchNorm(layers.BatchNormalization):
    """Batch normalization whose use of batch statistics is fixed by a setting, whatever phase the model runs in.

    Keras hands the phase of the outermost call down to every layer, over what a layer was given when the model was
    built.
    """

    def __init__(self, train_bn: bool | None = False, **kwargs):
        """Store the setting.

        Args:
            train_bn: False: the stored statistics, always (gamma and beta still learn). None: those of the batch while
                training. True: those of the batch, always.
            **kwargs: as keras.layers.BatchNormalization; epsilon is 1e-3.
        """
        super().__init__(epsilon=BATCH_NORM_EPSILON, **kwargs)
        self.train_bn = train_bn

    def call(self, inputs, training=None, mask=None):
        """Normalize (..., C)."""
        return super().call(inputs, training=training if self.train_bn is None else self.train_bn, mask=mask)

    def get_config(self):
        """What the layer was made with."""
        config = super().get_config()
        del config["epsilon"]
        return {**config, "train_bn": self.train_bn}
