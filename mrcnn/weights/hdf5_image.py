"""Makes Keras 2 HDF5 weight files in the layout of Matterport's package; imports no Keras."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence

import h5py
import numpy as np

from mrcnn.weights.hdf5 import METADATA_ATTRIBUTE, LayerArrays
from mrcnn.weights.layout import group_layers

MEMORY_STEP = 1 << 22
"""Bytes by which the in-memory file grows."""

LAYOUT_KERAS_VERSION = "2.2.5"
"""The Keras version whose layout the files have; Keras 2 reads it to decide what to convert (here: nothing)."""


def hdf5_image(
    groups: Sequence[str],
    layers: Mapping[str, Callable[[], LayerArrays]],
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """Content of a weight file, built in memory because HDF5 crashes the process on a full disk (SIGSEGV on close).

    Args:
        groups: names of the file's groups in their order, see `mrcnn.weights.layout.file_groups`.
        layers: by name, what gives a layer's arrays; only one layer's are needed at a time.
        metadata: settings and class names to store, see `mrcnn.weights.metadata.describe`; None stores nothing.

    Raises:
        ValueError: a layer belongs to none of the groups.
    """
    lost = set(layers) - {layer for group in groups for layer in group_layers(group)}
    if lost:
        raise ValueError(f"the file would lack the layers {', '.join(sorted(lost))}: no group holds them")
    name = f"weights-{threading.get_ident()}.h5"  # HDF5 refuses a second file of the same name, even in memory
    with h5py.File(name, "w", driver="core", backing_store=False, block_size=MEMORY_STEP) as file:
        file.attrs["layer_names"] = np.array([group.encode() for group in groups])
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = LAYOUT_KERAS_VERSION.encode()
        if metadata is not None:
            file.attrs[METADATA_ATTRIBUTE] = json.dumps(metadata)
        for group_name in groups:
            group = file.create_group(group_name)
            weights: list[str] = []
            for layer in (layer for layer in group_layers(group_name) if layer in layers):
                for kind, values in layers[layer]().items():
                    weights.append(f"{layer}/{kind}:0")
                    group.create_dataset(weights[-1], data=np.asarray(values, np.float32))
            group.attrs["weight_names"] = np.array([weight.encode() for weight in weights])
        file.flush()
        return bytes(file.id.get_file_image())
