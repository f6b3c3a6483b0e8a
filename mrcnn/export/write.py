"""Writes the ONNX files of a weight file's network."""

from __future__ import annotations

from pathlib import Path

from mrcnn.config import Config


def write_parts(weights: Path, config: Config, folder: Path) -> None:
    """Build the network in Keras, on any backend, load the weights and write NAME.onnx for each part.

    Args:
        weights: a weight file, see `mrcnn.weights.load_save`.
        config: settings of its network.
        folder: an existing folder for the files.

    Raises:
        WeightsError: the weights do not match the network.
        ExportError: the network has a layer that cannot be written.
        OSError: a file cannot be written.
    """
    import onnx

    from mrcnn.export.parts import export_parts
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.weights.load_save import load_weights

    network = MaskRCNNNetwork(config)
    load_weights(network, weights)
    for name, model in export_parts(network).items():
        onnx.save(model, folder / f"{name}.onnx")
