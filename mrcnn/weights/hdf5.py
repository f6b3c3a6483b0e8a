"""Reads Keras 2 HDF5 weight files in the layout of Matterport's package; imports no Keras."""

from __future__ import annotations

import json
import mmap
import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import NotRequired, TypedDict

import h5py
import numpy as np
from numpy.typing import NDArray

from mrcnn.weights.layout import RPN_LAYERS

METADATA_ATTRIBUTE = "stream_segment"
"""Attribute of the file with settings and class names, as JSON."""


HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

MOST_COMPRESSED = 100
"""Weights that need more memory than this times the size of their file are refused; trained ones hardly shrink."""

_HEAP = b"GCOL\x01\0\0\0"

_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError)
"""What h5py raises for files whose parts contradict each other."""

LayerArrays = dict[str, NDArray[np.generic]]
"""Arrays of one layer by kind: kernel, bias, gamma, beta, moving_mean, moving_variance."""


class Metadata(TypedDict):
    """The JSON that a weight file of this package contains, see `mrcnn.weights.metadata.describe`.

    Attributes:
        config: settings of the network by name.
        class_names: K names, the background first.
    """

    config: dict[str, object]
    class_names: NotRequired[list[str]]


class WeightsError(ValueError):
    """A weight file cannot be used; the message names the file, the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """An open weight file.

    Attributes:
        path: of the file.
        metadata: see `read_metadata`.
        groups: names of the layer groups, in file order.
        root: the HDF5 group that contains them.
    """

    path: Path
    metadata: Metadata | None
    groups: Sequence[str]
    root: h5py.Group

    def shapes(self, group: str) -> dict[str, tuple[int, ...]]:
        """Shapes of a layer's weights by kind."""
        return {kind: self._dataset(group, name).shape for name, _, kind in self._weights(group)}

    def arrays(self) -> dict[str, LayerArrays]:
        """All arrays by layer and kind. Raises WeightsError if they are far larger than the file."""
        arrays: dict[str, LayerArrays] = {}
        left = MOST_COMPRESSED * self.path.stat().st_size
        for group in self.groups:
            for name, layer, kind in self._weights(group):
                dataset = self._dataset(group, name)
                left -= dataset.nbytes
                if left < 0:
                    raise WeightsError(f"{self.path}: its weights need far more memory than the file is large")
                arrays.setdefault(layer, {})[kind] = np.asarray(dataset)
        return arrays

    def _weights(self, group: str) -> Iterator[tuple[str, str, str]]:
        for name in _names_attribute(self.path, _in_file(self.root, group), "weight_names") or ():
            yield name, *_layer_and_kind(group, name)

    def _dataset(self, group: str, name: str) -> h5py.Dataset:
        found = _in_file(_in_file(self.root, group), name)
        if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.dtype.kind == "O":
            raise WeightsError(f"{self.path}: {name} of layer {group} is no array in the file itself")
        return found


@contextmanager
def open_weights(path: str | os.PathLike[str]) -> Iterator[WeightFile]:
    """Open a weight file for reading.

    Raises:
        WeightsError: the file is missing, a folder, empty, truncated, not HDF5, or not written by Keras 2's
            save_weights; or its metadata is invalid. Also raised if reading fails inside the block.
    """
    path = Path(path)
    with _reading(path) as file:
        metadata = _metadata(path, file)
        root, groups = _root_and_groups(path, file)
        yield WeightFile(path, metadata, groups, root)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, LayerArrays]:
    """All arrays of a weight file by layer and kind. Raises WeightsError, see `open_weights`."""
    with open_weights(path) as file:
        return file.arrays()


def read_metadata(path: str | os.PathLike[str]) -> Metadata | None:
    """The metadata of a weight file, None if it has none (files of Matterport's package).

    Raises:
        WeightsError: the file is missing or damaged, or its metadata is invalid.
    """
    path = Path(path)
    with _reading(path) as file:
        return _metadata(path, file)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of several names, for an error message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """The open file; what h5py raises for damaged ones becomes a WeightsError."""
    with _open(path) as file:
        try:
            yield file
        except WeightsError:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from None


def _in_file(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """What a group holds under a name such as "conv1/kernel:0". Links are refused: they may lead to other files."""
    found = group
    for part in name.split("/"):
        if part and not isinstance(found, h5py.Group):
            raise ValueError(f"{name!r} is below something that is no group")
        if part and not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link")
        found = found[part] if part else found
    return found


def _attribute(path: Path, owner: h5py.Group, name: str) -> object:
    """The value of an attribute; None if there is none."""
    if name not in owner.attrs:
        return None
    kind = owner.attrs.get_id(name).get_type()
    if isinstance(kind, h5py.h5t.TypeVlenID) or (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()):
        _check_heaps(path)
    return owner.attrs[name]


def _check_heaps(path: Path) -> None:
    """Raise ValueError for global heaps, which hold texts of variable length, in which libhdf5 1.14 loops endlessly.

    It walks over the objects of a heap by their sizes, and free space (index 0) may be 0 bytes long. See "Global Heap"
    in the HDF5 file format specification.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_HEAP)
        while at >= 0:
            end = min(len(content), at + int.from_bytes(content[at + 8 : at + 16], "little"))
            position = at + 16
            while position + 16 <= end:
                index = int.from_bytes(content[position : position + 2], "little")
                size = int.from_bytes(content[position + 8 : position + 16], "little")
                step = 16 + (size + 7) // 8 * 8 if index else size
                if step == 0:
                    raise ValueError("its texts are damaged")
                position += step
            at = content.find(_HEAP, at + 1)


def _metadata(path: Path, file: h5py.File) -> Metadata | None:
    text = _attribute(path, file, METADATA_ATTRIBUTE)
    if text is None:
        return None
    try:
        content = json.loads(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the attribute {METADATA_ATTRIBUTE!r} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise WeightsError(f"{path}: the attribute {METADATA_ATTRIBUTE!r} has no object 'config'")
    metadata: Metadata = {"config": content["config"]}
    names = content.get("class_names")
    if names is None:
        return metadata
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{path}: class_names must be a list of names, got {reprlib.repr(names)}")
    return {**metadata, "class_names": names}


def _root_and_groups(path: Path, file: h5py.File) -> tuple[h5py.Group, list[str]]:
    """The HDF5 group that contains the layers, and their names in file order."""
    root = file
    if "layer_names" not in file.attrs and "layer_names0" not in file.attrs and "model_weights" in file:
        root = _in_file(file, "model_weights")
    groups = _names_attribute(path, root, "layer_names")
    if groups is None:
        raise WeightsError(
            f"{path} is an HDF5 file without the attribute 'layer_names' that Keras' save_weights writes "
            f"(it has {listed(sorted(file.keys()))}): it is not a Mask R-CNN checkpoint"
        )
    return root, groups


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} is damaged or truncated ({path.stat().st_size:,} bytes): {error}. Download it again")


def _open(path: Path) -> h5py.File:
    """Open the file for reading, or raise WeightsError with the reason why it cannot be."""
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
        raise _damaged(path, error) from None


def _names_attribute(path: Path, group: h5py.Group, name: str) -> list[str] | None:
    """An attribute that is a list of names, None if absent; Keras splits long lists into name0, name1 …"""
    whole = _attribute(path, group, name)
    pieces = [whole]
    if whole is None:
        numbered = (_attribute(path, group, f"{name}{number}") for number in count())
        pieces = list(takewhile(lambda piece: piece is not None, numbered))
    if not pieces:
        return None
    values = [value for piece in pieces for value in piece]  # type: ignore[attr-defined]
    if not all(isinstance(value, bytes | str) for value in values):
        raise ValueError(f"its attribute {name!r} is no list of names")
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


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
