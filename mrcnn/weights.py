"""Reads and writes weight files in the layout of Matterport's package (Keras 2 HDF5), layer by layer and by name.

Every layer of the network must find its partner in the file and the other way round; a leftover is an error that
names it, unless the caller excludes the layer. Files written here carry their settings and class names in one HDF5
attribute.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .layout import HEAD_LAYERS, RPN_LAYERS, file_groups, group_layers
from .network.network import MaskRCNNNetwork

METADATA_ATTRIBUTE = "stream_segment"
"""Attribute of the file that holds settings and class names, as JSON."""

LAYOUT_KERAS_VERSION = "2.2.5"
"""The Keras whose layout the files follow; Keras 2 reads it to know what to convert (here: nothing)."""

DOWNLOAD_HINT = "The COCO weights: `python stream_segment.py weights coco`"

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

LayerArrays = dict[str, np.ndarray]
"""Arrays of one layer by kind: kernel, bias, gamma, beta, moving_mean, moving_variance."""


class WeightsError(ValueError):
    """A weight file cannot be used; the text says which, why, and what to do."""


def load_weights(
    network: MaskRCNNNetwork,
    path: str | os.PathLike[str],
    exclude: Iterable[str] | None = None,
    backbone_only: bool = False,
) -> None:
    """Set the network's weights from a file. Nothing is changed if the file does not fit.

    Args:
        network: whose weights are set.
        path: a file that Matterport's `save_weights` or ours wrote; weights may sit under `model_weights`.
        exclude: layers that keep the weights they have, whether or not the file has them.
        backbone_only: the file holds a backbone and nothing else (ImageNet weights); all other layers keep their
        weights.

    Raises:
        WeightsError: the file is missing, damaged or foreign; a layer has no partner or another shape; `exclude`
        names no layer.
    """
    path = Path(path)
    layers = network.layers_by_name()
    excluded = _checked_exclude(exclude, layers)
    wanted = set(network.backbone_layer_names()) if backbone_only else set(layers)
    arrays = read_arrays(path)
    if not wanted & set(arrays):
        raise WeightsError(
            f"{path} has none of the layers of a Mask R-CNN with backbone {network.config.BACKBONE!r} (its first: "
            f"{_listed(list(arrays))}): it is not a Mask R-CNN checkpoint of this kind. {DOWNLOAD_HINT}"
        )
    if backbone_only:
        arrays = {name: layer for name, layer in arrays.items() if name in wanted}
    _check_partners(path, network, wanted - excluded, set(arrays) - excluded)
    assignments = []
    for name in layers:
        if name in wanted and name not in excluded:
            assignments.extend(_match_layer(path, name, layers[name], arrays[name]))
    for variable, values in assignments:
        variable.assign(values)


def save_weights(
    network: MaskRCNNNetwork, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the network's weights in Matterport's layout; an existing file is replaced only when the new one is
    complete.

    Args:
        network: whose weights are written.
        path: the file; its folder must exist.
        metadata: JSON-able settings to store in the file, see `describe`; None stores nothing.

    Raises:
        OSError: the file cannot be written (disk full, no permission); what was at `path` is untouched.
    """
    path = Path(path)
    layers = network.layers_by_name()
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    os.close(handle)
    try:
        with h5py.File(part, "w") as file:
            groups = file_groups(network)
            file.attrs["layer_names"] = np.array([group.encode() for group in groups])
            file.attrs["backend"] = b"tensorflow"
            file.attrs["keras_version"] = LAYOUT_KERAS_VERSION.encode()
            if metadata is not None:
                file.attrs[METADATA_ATTRIBUTE] = json.dumps(metadata)
            for group in groups:
                _write_group(file.create_group(group), [layers[n] for n in group_layers(group) if n in layers])
        _give_default_mode(part)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


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


def read_arrays(path: str | os.PathLike[str]) -> dict[str, LayerArrays]:
    """All arrays of a weight file by layer and kind.

    Raises:
        WeightsError: the file is missing, a folder, empty, cut off, not HDF5, or not written by Keras 2's
        save_weights.
    """
    path = Path(path)
    with _open(path) as file:
        root = file
        if "layer_names" not in file.attrs and "layer_names0" not in file.attrs and "model_weights" in file:
            root = file["model_weights"]
        groups = _names_attribute(root, "layer_names")
        if groups is None:
            raise WeightsError(
                f"{path} is an HDF5 file without the attribute 'layer_names' that Keras' save_weights writes "
                f"(it has {_listed(sorted(file.keys()))}): it is not a Mask R-CNN checkpoint. {DOWNLOAD_HINT}"
            )
        try:
            return _read_groups(path, root, groups)
        except (OSError, KeyError, RuntimeError) as error:
            raise WeightsError(
                f"{path} is damaged or cut off ({path.stat().st_size:,} bytes): {error}. Download it again"
            ) from None


def _open(path: Path) -> h5py.File:
    """The file opened for reading, or an error that says what is wrong with it."""
    if not path.exists():
        raise WeightsError(f"weight file {path} does not exist. {DOWNLOAD_HINT}")
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a weight file (.h5)")
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            signature = raw.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read: {error.strerror}") from None
    if size == 0:
        raise WeightsError(f"weight file {path} is empty (0 bytes). {DOWNLOAD_HINT}")
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


def _checked_exclude(exclude: Iterable[str] | None, layers: Mapping[str, Any]) -> set[str]:
    if exclude is None:
        return set()
    if isinstance(exclude, str):
        raise WeightsError(f"exclude must be a list of layer names, got the text {exclude!r}: write [{exclude!r}]")
    names = set(exclude)
    expanded = names - {"rpn_model"} | (set(RPN_LAYERS) if "rpn_model" in names else set())
    unknown = sorted(expanded - set(layers))
    if unknown:
        raise WeightsError(
            f"exclude names {_listed(unknown)}, which the network does not have. "
            f"The layers that depend on the number of classes are {', '.join(HEAD_LAYERS)}"
        )
    return expanded


def _check_partners(path: Path, network: MaskRCNNNetwork, ours: set[str], theirs: set[str]) -> None:
    missing = [name for name in network.layers_by_name() if name in ours - theirs]
    if missing:
        raise WeightsError(
            f"{path} has no layer {_listed(missing)}, which this network (BACKBONE {network.config.BACKBONE!r}) "
            "needs. Is it a file of another architecture? To leave layers as they are, name them in exclude"
        )
    surplus = sorted(theirs - ours)
    if surplus:
        raise WeightsError(
            f"{path} has the layer {_listed(surplus)}, which this network (BACKBONE {network.config.BACKBONE!r}) "
            "does not have. Is it a file of another architecture?"
        )


def _match_layer(path: Path, name: str, layer: Any, arrays: LayerArrays) -> list[tuple[Any, np.ndarray]]:
    """(variable, values) of every weight of a layer, or an error that names the first that does not fit."""
    kinds = [_kind(variable) for variable in layer.weights]
    if set(kinds) != set(arrays):
        raise WeightsError(
            f"{path}: layer {name} must have the weights {', '.join(sorted(kinds))}, "
            f"the file has {', '.join(sorted(arrays)) or 'none'}"
        )
    for kind, variable in zip(kinds, layer.weights, strict=True):
        if tuple(variable.shape) != arrays[kind].shape:
            raise WeightsError(_shape_message(path, f"{name}/{kind}", tuple(variable.shape), arrays[kind].shape))
        if arrays[kind].dtype.kind != "f":
            raise WeightsError(
                f"{path}: {name}/{kind} must hold floating-point numbers, the file has {arrays[kind].dtype}"
            )
    return [(variable, arrays[kind]) for kind, variable in zip(kinds, layer.weights, strict=True)]


def _shape_message(path: Path, weight: str, expected: tuple[int, ...], found: tuple[int, ...]) -> str:
    text = f"{path}: {weight} has shape {found}, this network needs {expected}"
    name = weight.split("/")[0]
    if name not in HEAD_LAYERS:
        return (
            text
            + ". The file was made with other settings (BACKBONE, TOP_DOWN_PYRAMID_SIZE, FPN_CLASSIF_FC_LAYERS_SIZE …)"
        )
    per_class = 4 if name == "mrcnn_bbox_fc" else 1
    return (
        f"{text}: the file has {found[-1] // per_class} classes with the background, "
        f"NUM_CLASSES is {expected[-1] // per_class}. "
        f"Set NUM_CLASSES to the file's, or load all but the heads with exclude={list(HEAD_LAYERS)}"
    )


def _kind(variable: Any) -> str:
    return str(variable.name).split("/")[-1].split(":")[0]


def _write_group(group: h5py.Group, layers: Sequence[Any]) -> None:
    weights = [(f"{layer.name}/{_kind(variable)}:0", variable) for layer in layers for variable in layer.weights]
    group.attrs["weight_names"] = np.array([name.encode() for name, _ in weights])
    for name, variable in weights:
        group.create_dataset(name, data=np.asarray(_to_numpy(variable), np.float32))


def _to_numpy(variable: Any) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(variable)


def _give_default_mode(path: str) -> None:
    """mkstemp makes files that only their owner reads; give it the mode that any new file would have."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"
