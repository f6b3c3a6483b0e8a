"""Initializes a network from a weight file: which network it describes, and which of its layers are taken.

A file may have another set of classes. Then the class layers are new, except for the rows of classes that both have by
name; the boxes and masks of a new class are initialized with the mean over the file's classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import BACKBONES, Config, min_dim_for
from mrcnn.network.constants import LITE0_MEAN_PIXEL
from mrcnn.weights.checkpoint import WeightsError, read_arrays, read_metadata
from mrcnn.weights.layout import HEAD_LAYERS, RPN_LAYERS, backbone_of
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata

SMALL_NETWORK: dict[str, Any] = {
    "BACKBONE": "efficientnet_lite0",
    "TOP_DOWN_PYRAMID_SIZE": 64,
    "RPN_CHANNELS": 64,
    "MASK_HEAD_CHANNELS": 64,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 256,
    "MEAN_PIXEL": np.array(LITE0_MEAN_PIXEL),
    "RPN_ANCHOR_SCALES": (16, 32, 64, 128, 256),
    "PRE_NMS_LIMIT": 1000,
    "POST_NMS_ROIS_INFERENCE": 100,
    "DETECTION_IGNORE_BACKGROUND": True,
    "DETECTION_MIN_CONFIDENCE": 0.6,
    "DETECTION_NMS_THRESHOLD": 0.4,
    "DETECTION_MAX_INSTANCES": 50,
}
"""The shipped model's: narrow layers, so that two cores keep up with a camera."""

SMALL_TRAINING: dict[str, Any] = {
    "POST_NMS_ROIS_TRAINING": 150,
    "TRAIN_ROIS_PER_IMAGE": 96,
    "ROI_POSITIVE_RATIO": 1 / 3,
    "LOSS_WEIGHTS": {**Config.LOSS_WEIGHTS, "mrcnn_mask_loss": 1.5},
}
LARGE_TRAINING: dict[str, Any] = {"POST_NMS_ROIS_TRAINING": 1000, "TRAIN_ROIS_PER_IMAGE": 200}

LAST_LAYER_DEVIATIONS = {
    "rpn_class_raw": 0.01,
    "rpn_bbox_pred": 0.01,
    "mrcnn_class_logits": 0.01,
    "mrcnn_bbox_fc": 0.001,
}
LATERAL_LAYERS = ("fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2")
LITE0_LATERAL_SCALE = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Initialization:
    """How a network is initialized.

    Attributes:
        path: the weight file.
        config: of the network to train.
        backbone_only: the file holds a backbone and nothing else.
        file_names: the file's class names, the background first; None if they are not known or there are none.
        class_names: the new ones.
    """

    path: Path
    config: Config
    backbone_only: bool
    file_names: tuple[str, ...] | None
    class_names: tuple[str, ...]

    @property
    def same_classes(self) -> bool:
        """Whether the file's class layers are used unchanged."""
        return not self.backbone_only and self.file_names == self.class_names

    def describe(self) -> str:
        """One line about the layers that come from the file."""
        if self.backbone_only:
            return f"backbone from {self.path}, everything else new"
        if self.same_classes:
            return f"everything from {self.path}"
        known = [name for name in self.class_names[1:] if name in (self.file_names or ())]
        text = f"all but the class layers from {self.path}"
        return text + (f", and its class rows of {', '.join(known)}" if known else "")


def plan_initialization(
    path: Path,
    class_names: Sequence[str],
    side: int | None = None,
    backbone: str | None = None,
    names_by_count: Mapping[int, Sequence[str]] | None = None,
) -> Initialization:
    """Choose the network that fits a weight file. Loads no Keras.

    Args:
        path: a file of ours or of Matterport's, or a backbone's.
        class_names: K names to train, the background first.
        side: IMAGE_MAX_DIM, pixels; None takes the file's, else 512 (small) or 1024.
        backbone: the user's; None takes the file's.
        names_by_count: class names of files that carry none, by how many classes they have (COCO's 81).

    Raises:
        WeightsError: the file cannot be used, or its backbone is not `backbone`.
        ValueError: `side` is no multiple of 64.
    """
    metadata, arrays = read_metadata(path), read_arrays(path)
    found = backbone_of(arrays)
    if found is None:
        raise WeightsError(f"{path} has none of the backbones {', '.join(BACKBONES)}: training cannot start from it")
    if backbone is not None and backbone != found:
        raise WeightsError(
            f"{path} has the backbone {found}, expected {backbone}: leave --backbone out, or name weights "
            "of that backbone"
        )
    backbone_only = not any(name in arrays for name in ("fpn_c5p5", *RPN_LAYERS, *HEAD_LAYERS))
    file_names = None
    if not backbone_only:
        if "bias" not in arrays.get("mrcnn_class_logits", {}):
            raise WeightsError(f"{path} has no layer mrcnn_class_logits: it is neither a Mask R-CNN nor a backbone")
        count = len(arrays["mrcnn_class_logits"]["bias"])
        file_names = class_names_from_metadata(metadata) if metadata else (names_by_count or {}).get(count)
    is_small = found == "efficientnet_lite0"
    settings: dict[str, Any] = {"NAME": "trained", "NUM_CLASSES": len(class_names)}
    settings |= SMALL_TRAINING if is_small else LARGE_TRAINING
    stored = metadata["config"] if metadata is not None else None
    if stored is None:
        # metadata hold the file's own settings
        settings |= SMALL_NETWORK if is_small else {"BACKBONE": found}
        side = side or (512 if is_small else 1024)
    config = config_from_metadata({"config": stored or {}}, **settings)
    if side is not None:
        sides = {"IMAGE_MIN_DIM": min_dim_for(config, side), "IMAGE_MAX_DIM": side}
        config = config_from_metadata({"config": stored or {}}, **settings, **sides)
    return Initialization(path, config, backbone_only, file_names and tuple(file_names), tuple(class_names))


def load_initial_weights(network: Any, plan: Initialization, seed: int) -> None:
    """Load the file's weights into a network that was built with `plan.config`.

    Raises:
        WeightsError: a layer is missing or has another shape.
    """
    from mrcnn.weights.load_save import load_weights

    if plan.backbone_only:
        load_weights(network, plan.path, backbone_only=True)
        prepare_new_layers(network, seed)
    elif plan.same_classes:
        load_weights(network, plan.path)
    else:
        load_weights(network, plan.path, exclude=HEAD_LAYERS)
        set_class_layers(network, read_arrays(plan.path), plan.file_names, plan.class_names, seed)


def prepare_new_layers(network: Any, seed: int) -> None:
    """Initialize the layers behind an ImageNet backbone so that no loss dominates.

    The last layers of the heads begin near zero (Ren et al. 2015, section 3.1.3: a standard deviation of 0.01). The
    stages of EfficientNet-Lite0 end without normalization at a standard deviation of 5 to 10; the lateral layers scale
    them to about 1.
    """
    rng = np.random.default_rng(seed)
    layers = network.layers_by_name()
    for name, deviation in LAST_LAYER_DEVIATIONS.items():
        kernel, bias = layers[name].get_weights()
        layers[name].set_weights([rng.normal(0, deviation, kernel.shape), bias])
    if network.config.BACKBONE == "efficientnet_lite0":
        for name in LATERAL_LAYERS:
            kernel, bias = layers[name].get_weights()
            layers[name].set_weights([kernel * LITE0_LATERAL_SCALE, bias])


def set_class_layers(
    network: Any,
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    file_names: Sequence[str] | None,
    class_names: Sequence[str],
    seed: int,
) -> None:
    """Initialize the layers that depend on the classes.

    Args:
        network: has K classes.
        arrays: of the file, see `checkpoint.read_arrays`; it has F classes.
        file_names: F names; None if they are not known.
        class_names: K names, the background first in both.
        seed: of the random initialization of new classes.
    """
    rng = np.random.default_rng(seed)
    rows = [file_names.index(name) if file_names is not None and name in file_names else None for name in class_names]
    rows[0] = 0
    layers = network.layers_by_name()
    for name in HEAD_LAYERS:
        per_class = 4 if name == "mrcnn_bbox_fc" else 1
        weights = []
        for kind in ("kernel", "bias"):
            old = np.asarray(arrays[name][kind], np.float32)
            old = old.reshape(*old.shape[:-1], -1, per_class)  # (…, F * per_class) to (…, F, per_class)
            new = old[..., 1:, :].mean(axis=-2, keepdims=True).repeat(len(rows), axis=-2)
            if name == "mrcnn_class_logits":
                new = rng.normal(0, LAST_LAYER_DEVIATIONS[name] if kind == "kernel" else 0, new.shape)
            for row, source in enumerate(rows):
                if source is not None:
                    new[..., row, :] = old[..., source, :]
            weights.append(new.reshape(*old.shape[:-2], -1))
        layers[name].set_weights(weights)
