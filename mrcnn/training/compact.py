"""Halves a weight file: stores kernels as float16."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mrcnn.weights.hdf5 import METADATA_ATTRIBUTE
from mrcnn.weights.whole_file import write_whole


def write_compact(
    source: Path,
    target: Path,
    metadata: Mapping[str, Any] | None = None,
    change: Callable[[h5py.File], None] = lambda _: None,
) -> None:
    """Copy a weight file with kernels as float16; an existing target is replaced when the copy is complete.

    Args:
        source: a weight file of ours or of Matterport's.
        target: may be the same file.
        metadata: settings and names that replace the source's; None keeps them.
        change: may edit the copy before it is written.

    Raises:
        OSError: it cannot be written; `target` is unchanged.
    """

    def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # statistics of the normalizations can exceed what float16 holds
            kind = np.float16 if item.ndim > 1 else np.float32
            result.create_dataset(name, data=item[()].astype(kind))
        else:
            result.require_group(name).attrs.update(item.attrs)

    # in memory, as in mrcnn.weights.load_save: on a full disk HDF5 crashes the process
    with h5py.File(source) as original, h5py.File("compact.h5", "w", driver="core", backing_store=False) as result:
        result.attrs.update(original.attrs)
        if metadata is not None:
            result.attrs[METADATA_ATTRIBUTE] = json.dumps(metadata)
        original.visititems(copy)
        change(result)
        result.flush()
        content = result.id.get_file_image()
    write_whole(target, content)
