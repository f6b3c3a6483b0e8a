"""Reads weight files in the layout of Matterport's package (Keras 2 HDF5) into arrays: no network, no Keras.

Layers are found by name, wherever the file keeps them. What can be told of a file without building the network
(`summarize`) is told here, so that a program can refuse a wrong file before it loads a deep-learning framework.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

METADATA_ATTRIBUTE = "stream_segment"
"""Attribute of the file that holds settings and class names, as JSON."""

RPN_LAYERS = ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")
"""Layers whose weights lie together in the group `rpn_model`."""

HEAD_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
"""Layers whose shapes depend on the number of classes."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

LayerArrays = dict[str, np.ndarray]
"""Arrays of one layer by kind: kernel, bias, gamma, beta, moving_mean, moving_variance."""


class WeightsError(ValueError):
    """A weight file cannot be used; the text says which, why, and what to do."""


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The settings that a file carries, None if it carries none (files of the original package).

    Raises:
        WeightsError: the file is missing or damaged, or what it carries is not valid.
    """
    path = Path(path)
    with _open(path) as file:
        text = file.attrs.get(METADATA_ATTRIBUTE)
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: the settings in its attribute {METADATA_ATTRIBUTE!r} are not valid JSON: {error}"
        ) from None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("config"), dict):
        raise WeightsError(f"{path}: the attribute {METADATA_ATTRIBUTE!r} has no object 'config'")
    return metadata


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What a weight file says without being loaded.

    Attributes:
        num_classes: K, the background included, by the shape of the class layer.
        backbone: "resnet50" or "resnet101" by the layers of stage 4; None for another backbone.
        metadata: see `read_metadata`.
    """

    num_classes: int
    backbone: str | None
    metadata: dict[str, Any] | None


def summarize(path: str | os.PathLike[str]) -> FileSummary:
    """Look at a weight file's layers and shapes, without reading the weights.

    Raises:
        WeightsError: the file is missing or damaged, or it is no Mask R-CNN checkpoint.
    """
    path = Path(path)
    metadata = read_metadata(path)
    with _open(path) as file:
        root, groups = _root_and_groups(path, file)
        missing = [name for name in ("fpn_p5", "rpn_model", *HEAD_LAYERS) if name not in groups]
        if missing:
            raise WeightsError(f"{path} has no layer {listed(missing)}: it is not a Mask R-CNN checkpoint")
        try:
            shapes = _shapes(root, "mrcnn_class_logits")
        except (OSError, KeyError, RuntimeError) as error:
            raise _damaged(path, error) from None
    bias = shapes.get("bias")
    if bias is None or len(bias) != 1:
        raise WeightsError(f"{path}: layer mrcnn_class_logits has no bias: it is not a Mask R-CNN checkpoint")
    stage_4 = [name for name in groups if re.fullmatch(r"res4[a-w]_branch2a", name)]
    return FileSummary(bias[0], {6: "resnet50", 23: "resnet101"}.get(len(stage_4)), metadata)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, LayerArrays]:
    """All arrays of a weight file by layer and kind.

    Raises:
        WeightsError: the file is missing, a folder, empty, cut off, not HDF5, or not written by Keras 2's save_weights.
    """
    path = Path(path)
    with _open(path) as file:
        root, groups = _root_and_groups(path, file)
        try:
            return _read_groups(path, root, groups)
        except (OSError, KeyError, RuntimeError) as error:
            raise _damaged(path, error) from None


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for an error message, the first few of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"


def _root_and_groups(path: Path, file: h5py.File) -> tuple[h5py.Group, list[str]]:
    """The group that holds the layers, and their names in file order."""
    root = file
    if "layer_names" not in file.attrs and "layer_names0" not in file.attrs and "model_weights" in file:
        root = file["model_weights"]
    groups = _names_attribute(root, "layer_names")
    if groups is None:
        raise WeightsError(
            f"{path} is an HDF5 file without the attribute 'layer_names' that Keras' save_weights writes "
            f"(it has {listed(sorted(file.keys()))}): it is not a Mask R-CNN checkpoint"
        )
    return root, groups


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} is damaged or cut off ({path.stat().st_size:,} bytes): {error}. Download it again")


def _shapes(root: h5py.Group, group: str) -> dict[str, tuple[int, ...]]:
    """Shapes of a layer's weights by kind."""
    names = _names_attribute(root[group], "weight_names") or []
    return {_layer_and_kind(group, name)[1]: root[group][name].shape for name in names}


def _open(path: Path) -> h5py.File:
    """The file opened for reading, or an error that says what is wrong with it."""
    if not path.exists():
        raise WeightsError(f"weight file {path} does not exist")
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a weight file (.h5)")
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            signature = raw.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read: {error.strerror}") from None
    if size == 0:
        raise WeightsError(f"weight file {path} is empty (0 bytes)")
    if signature != HDF5_SIGNATURE:
        raise WeightsError(
            f"{path} is not an HDF5 file (it begins with {signature!r}): expected weights in Keras' .h5 format"
        )
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise WeightsError(f"{path} is damaged or cut off ({size:,} bytes): {error}. Download it again") from None


def _names_attribute(group: h5py.Group, name: str) -> list[str] | None:
    """A list of names; Keras splits a long one over name0, name1 …"""
    if name in group.attrs:
        values = list(group.attrs[name])
    elif name + "0" in group.attrs:
        values, chunk = [], 0
        while f"{name}{chunk}" in group.attrs:
            values.extend(group.attrs[f"{name}{chunk}"])
            chunk += 1
    else:
        return None
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _read_groups(path: Path, root: h5py.Group, groups: Sequence[str]) -> dict[str, LayerArrays]:
    arrays: dict[str, LayerArrays] = {}
    for group in groups:
        for weight_name in _names_attribute(root[group], "weight_names") or []:
            layer, kind = _layer_and_kind(group, weight_name)
            arrays.setdefault(layer, {})[kind] = np.asarray(root[group][weight_name])
    return arrays


_OLD_KINDS = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}


def _layer_and_kind(group: str, weight_name: str) -> tuple[str, str]:
    """('conv1', 'kernel') of 'conv1/kernel:0', also of 'conv1_1/kernel:0' and of the older 'conv1_W:0'."""
    *prefix, last = weight_name.split(":")[0].split("/")
    if group == "rpn_model":
        layer = re.sub(r"_\d+$", "", prefix[-1]) if prefix else group
        return (layer if layer in RPN_LAYERS else prefix[-1] if prefix else group), last
    if last.startswith(group + "_"):
        last = last[len(group) + 1 :]
    return group, _OLD_KINDS.get(last, last)
