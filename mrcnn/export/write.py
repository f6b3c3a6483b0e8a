"""From a weight file to the ONNX files of its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_parts(weights: Path, config: Any, folder: Path) -> None:
    """Build the network in Keras, load the weights and write NAME.onnx for each part.

    Args:
        weights: a weight file, see `mrcnn.weights.load_save`.
        config: the Config of its network.
        folder: where the files go; it exists.

    Raises:
        WeightsError: the weights do not fit.
        ExportError: the network has a part that cannot be written.
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
