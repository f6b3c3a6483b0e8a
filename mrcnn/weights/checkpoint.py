"""What a Mask R-CNN weight file says about its network; imports no Keras.

Other programs' files (.pth, .pkl, .safetensors) are converted at their first use, see `mrcnn.weights.converted`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mrcnn.config import Config
from mrcnn.weights import hdf5
from mrcnn.weights.coco_names import coco_names
from mrcnn.weights.converted import as_hdf5
from mrcnn.weights.hdf5 import LayerArrays, Metadata, WeightsError, listed
from mrcnn.weights.layout import HEAD_LAYERS, RESNET_BLOCKS, backbone_of
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata

__all__ = ["Checkpoint", "WeightsError", "read_arrays", "read_checkpoint", "read_metadata"]


def read_arrays(path: str | os.PathLike[str]) -> dict[str, LayerArrays]:
    """All arrays of a weight file by layer and kind. Raises WeightsError, see `read_checkpoint`."""
    return hdf5.read_arrays(as_hdf5(path))


def read_metadata(path: str | os.PathLike[str]) -> Metadata | None:
    """Settings and class names in a weight file; None for files of Matterport's package. Raises WeightsError."""
    return hdf5.read_metadata(as_hdf5(path))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weight file's description of its network.

    Attributes:
        path: the file.
        num_classes: K, including the background, from the shape of the class layer.
        backbone: a name from `mrcnn.config.BACKBONES`, from the names of the layers; None for any other backbone.
        class_names: K names, the background first: the file's, else COCO's if there are as many; None otherwise.
        metadata: see `mrcnn.weights.hdf5.read_metadata`; None for files of Matterport's package.
    """

    path: Path
    num_classes: int
    backbone: str | None
    class_names: tuple[str, ...] | None
    metadata: Metadata | None

    def config(self, overrides: Mapping[str, object] | None = None) -> Config:
        """Settings of the network, for one image per batch: the file's, or Matterport's defaults where it has none.

        Args:
            overrides: settings by name that replace the file's (DETECTION_MIN_CONFIDENCE: 0.5 …).

        Raises:
            WeightsError: the file has neither settings nor a ResNet backbone, or the settings are invalid.
        """
        if self.metadata is not None:
            metadata = self.metadata
        elif self.backbone in RESNET_BLOCKS:
            metadata = {"config": {"NUM_CLASSES": self.num_classes, "BACKBONE": self.backbone}}
        else:
            raise WeightsError(
                f"{self.path} has neither settings nor a ResNet-50 or ResNet-101 backbone: its network is unknown"
            )
        try:
            return config_from_metadata(metadata, **(overrides or {}))
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from None


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read layer names, shapes and metadata of a weight file, but not its weights (unless it must be converted).

    Raises:
        WeightsError: the file is missing or damaged, or it is not a Mask R-CNN checkpoint.
    """
    path = Path(path)
    with hdf5.open_weights(as_hdf5(path)) as file:
        missing = [name for name in ("fpn_p5", "rpn_model", *HEAD_LAYERS) if name not in file.groups]
        if missing:
            raise WeightsError(f"{path} has no layer {listed(missing)}: it is not a Mask R-CNN checkpoint")
        bias = file.shapes("mrcnn_class_logits").get("bias")
    if bias is None or len(bias) != 1:
        raise WeightsError(f"{path}: layer mrcnn_class_logits has no bias: it is not a Mask R-CNN checkpoint")
    names = coco_names(bias[0]) if file.metadata is None else class_names_from_metadata(file.metadata)
    class_names = None if names is None else tuple(names)
    return Checkpoint(path, bias[0], backbone_of(file.groups), class_names, file.metadata)
