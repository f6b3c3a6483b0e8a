"""All layers of the network as one Keras model, as scripts for Matterport's package expect."""

from __future__ import annotations

import os
from typing import Any

import keras

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.load_save import load_weights, save_weights


class SavesForMatterport:
    """A Keras model of a network, as its `network`, whose weight files have Matterport's layout.

    Attributes:
        metadata: stored in its weight files, see `mrcnn.weights.metadata.describe`; None stores nothing.
    """

    metadata: dict[str, Any] | None = None

    def save_weights(self, filepath, overwrite=True):
        """Write the weights (.h5); see `mrcnn.weights.load_save.save_weights`."""
        if not overwrite and os.path.exists(filepath):
            raise FileExistsError(f"{filepath} exists already, and overwrite is False")
        save_weights(self.network, filepath, self.metadata)

    def load_weights(self, filepath, by_name=True, exclude=None):
        """Read weights (.h5); see `mrcnn.weights.load_save.load_weights`."""
        load_weights(self.network, filepath, exclude)


class WholeModel(SavesForMatterport, keras.Model):
    """All layers as one Keras model, for `summary()`, `layers` and `save_weights` in Matterport's layout."""


def as_keras_model(network: MaskRCNNNetwork) -> WholeModel:
    """Combine the network's three models into one that shares their layers."""
    inputs = [model_input for model in network.models for model_input in model.inputs]
    outputs = [model_output for model in network.models for model_output in model.outputs]
    model = WholeModel(inputs, outputs, name="mask_rcnn")
    model.network = network
    return model
