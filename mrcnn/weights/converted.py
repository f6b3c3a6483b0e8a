"""Other programs' weight files as ours: converted once, and kept in the user's cache by their content.

CACHE/converted/NAME-DIGEST-FORMAT.h5
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mrcnn.config import Config
from mrcnn.weights.conversion import convert
from mrcnn.weights.digest import remembered_sha256
from mrcnn.weights.hdf5 import Metadata, WeightsError, read_metadata
from mrcnn.weights.hdf5_image import hdf5_image
from mrcnn.weights.layout import file_groups
from mrcnn.weights.metadata import network_settings
from mrcnn.weights.state_dict import is_foreign, open_state_dict
from mrcnn.weights.user_cache import temporary_cache, user_cache
from mrcnn.weights.whole_file import write_whole

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

FORMAT = 4
"""Incremented when the conversion changes."""

SMALLEST_VALUE = 2
"""Bytes of a weight in the smallest data type that is supported."""


def as_hdf5(path: str | os.PathLike[str]) -> Path:
    """A weight file in Matterport's layout with the same weights: the file itself, or its conversion in the cache.

    The first conversion is logged. Where the cache cannot be written, the converted file is temporary.

    Args:
        path: .h5, or a .pth, .pkl or .safetensors of a Mask R-CNN of torchvision or detectron2; recognized by content.

    Raises:
        WeightsError: such a file cannot be converted. Other files, also missing ones, are returned unchanged.
    """
    path = Path(path)
    if not is_foreign(path):
        return path
    try:
        name = f"{path.stem}-{remembered_sha256(path)[:16]}-{FORMAT}.h5"
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read: {error.strerror or error}") from None
    cached = user_cache() / "converted" / name
    if _is_sound(cached):
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        convert_file(path, cached)
    except OSError:
        cached = temporary_cache("stream_segment-weights-") / name
        if not _is_sound(cached):
            convert_file(path, cached)
    return cached


def convert_file(source: Path, target: Path) -> None:
    """Convert a .pth, .pkl or .safetensors into a file of ours; an existing target is replaced when it is complete.

    Raises:
        WeightsError: the source is damaged, or no Mask R-CNN that is supported.
        OSError: the target cannot be written.
    """
    with open_state_dict(source) as tensors:
        before = _state(source)
        conversion = convert(tensors)
        config = conversion.config
        if conversion.num_values * SMALLEST_VALUE > before[0]:
            raise WeightsError("its layers share their values, so that they need more memory than the file is large")
        logger.info(
            "converting %s (%s, %s, %d classes) to %s",
            source,
            conversion.architecture.name,
            config.BACKBONE,
            config.NUM_CLASSES,
            target,
        )
        metadata: Metadata = {"config": network_settings(config)}
        if conversion.class_names is not None:
            metadata["class_names"] = list(conversion.class_names)
        layers = {layer: partial(conversion.arrays, layer) for layer in conversion.layer_names}
        image = hdf5_image(file_groups(_Described(config)), layers, metadata)
        if _state(source) != before:
            raise WeightsError("it changed while it was read. Try again when it is complete")
    write_whole(target, image)


@dataclass(slots=True)
class _Described:
    """A network of which only the settings exist: enough for the order of its groups."""

    config: Config

    def layers_by_name(self) -> Mapping[str, keras.Layer]:
        return {}

    def backbone_layer_names(self) -> list[str]:
        return []


def _is_sound(path: Path) -> bool:
    try:
        return os.path.isfile(path) and read_metadata(path) is not None
    except WeightsError:
        return False


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
