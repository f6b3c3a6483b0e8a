"""Loads and saves a network's weights in the layout of Matterport's package (Keras 2 HDF5), matching layers by name.

Network and file must have the same layers; a layer that only one of them has is an error that names it, unless the
caller excludes it. Saved files store settings and class names in one HDF5 attribute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrcnn.weights.checkpoint import read_arrays
from mrcnn.weights.hdf5 import LayerArrays, WeightsError, listed
from mrcnn.weights.hdf5_image import hdf5_image
from mrcnn.weights.layout import HEAD_LAYERS, RPN_LAYERS, LayerSource, file_groups
from mrcnn.weights.whole_file import write_whole

if TYPE_CHECKING:
    import keras


def load_weights(
    network: LayerSource,
    path: str | os.PathLike[str],
    exclude: Iterable[str] | None = None,
    backbone_only: bool | None = False,
) -> None:
    """Set the network's weights from a file; nothing changes if the file does not match.

    Args:
        network: the network to change.
        path: a file written by Matterport's `save_weights` or by this package (weights may be under `model_weights`),
            or another program's, see `mrcnn.weights.converted`.
        exclude: layers that keep their current weights, whether or not the file has them.
        backbone_only: True: load a backbone only (ImageNet weights), all other layers keep their weights. None: do so
            if the file contains nothing else.

    Raises:
        WeightsError: the file is missing, damaged or of another kind; a layer is missing, unexpected or has another
            shape; `exclude` has an unknown name.
    """
    path = Path(path)
    layers = network.layers_by_name()
    excluded = _checked_exclude(exclude, layers, file_groups(network))
    backbone = set(network.backbone_layer_names())
    arrays = read_arrays(path)
    if backbone_only is None:
        backbone_only = bool(backbone & set(arrays)) and not (set(layers) - backbone) & set(arrays)
    wanted = backbone if backbone_only else set(layers)
    if not wanted & set(arrays):
        raise WeightsError(
            f"{path} has none of the layers of a Mask R-CNN with backbone {network.config.BACKBONE!r} (it has "
            f"{listed(list(arrays))}): it is not a Mask R-CNN checkpoint of this kind"
        )
    if backbone_only:
        arrays = {name: layer for name, layer in arrays.items() if name in wanted}
    _check_layers(path, network, wanted - excluded, set(arrays) - excluded)
    assignments = []
    for name in layers:
        if name in wanted and name not in excluded:
            assignments.extend(_match_layer(path, name, layers[name], arrays[name]))
    for variable, values in assignments:
        variable.assign(values)


def save_weights(
    network: LayerSource, path: str | os.PathLike[str], metadata: Mapping[str, object] | None = None
) -> None:
    """Write the network's weights in Matterport's layout; an existing file is replaced atomically.

    Args:
        network: the network to save.
        path: the file; its folder must exist.
        metadata: settings and class names to store, see `mrcnn.weights.metadata.describe`; None stores nothing.

    Raises:
        OSError: the file cannot be written (disk full, no permission); an existing file is untouched.
    """
    layers = {name: _reader(layer) for name, layer in network.layers_by_name().items()}
    write_whole(Path(path), hdf5_image(file_groups(network), layers, metadata))


def _checked_exclude(
    exclude: Iterable[str] | None, layers: Mapping[str, keras.Layer], groups: Sequence[str]
) -> set[str]:
    if exclude is None:
        return set()
    if isinstance(exclude, str):
        raise WeightsError(f"exclude must be a list of layer names, got the text {exclude!r}: write [{exclude!r}]")
    names = set(exclude)
    expanded = names - {"rpn_model"} | (set(RPN_LAYERS) if "rpn_model" in names else set())
    # Matterport's samples also name a layer without weights, "mrcnn_bbox"
    unknown = sorted(names - set(layers) - set(groups))
    if unknown:
        raise WeightsError(
            f"exclude names {listed(unknown)}, which the network does not have. "
            f"The layers that depend on the number of classes are {', '.join(HEAD_LAYERS)}"
        )
    return expanded


def _check_layers(path: Path, network: LayerSource, expected: set[str], found: set[str]) -> None:
    missing = [name for name in network.layers_by_name() if name in expected - found]
    if missing:
        raise WeightsError(
            f"{path} has no layer {listed(missing)}, which this network (BACKBONE {network.config.BACKBONE!r}) "
            "needs. Is it a file of another architecture? To keep the current weights of layers, name them in exclude"
        )
    unexpected = sorted(found - expected)
    if unexpected:
        raise WeightsError(
            f"{path} has the layer {listed(unexpected)}, which this network (BACKBONE {network.config.BACKBONE!r}) "
            "does not have. Is it a file of another architecture?"
        )


def _match_layer(
    path: Path, name: str, layer: keras.Layer, arrays: LayerArrays
) -> list[tuple[keras.Variable, NDArray[np.generic]]]:
    """(variable, values) of every weight of a layer. Raises WeightsError for the first that does not match."""
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
        return f"{text}. Its settings differ (BACKBONE, TOP_DOWN_PYRAMID_SIZE, FPN_CLASSIF_FC_LAYERS_SIZE …)"
    per_class = 4 if name == "mrcnn_bbox_fc" else 1
    return (
        f"{text}: the file has {found[-1] // per_class} classes including the background, "
        f"NUM_CLASSES is {expected[-1] // per_class}. "
        f"Set NUM_CLASSES to the file's, or load all but the heads with exclude={list(HEAD_LAYERS)}"
    )


def _kind(variable: keras.Variable) -> str:
    return str(variable.name).split("/")[-1].split(":")[0]


def _reader(layer: keras.Layer) -> Callable[[], LayerArrays]:
    return lambda: {_kind(variable): _to_numpy(variable) for variable in layer.weights}


def _to_numpy(variable: keras.Variable) -> NDArray[np.generic]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable))
