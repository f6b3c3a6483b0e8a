"""Writes annotated still images: one file, or a folder of files with the names of the source's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, RunError
from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Inputs, check_folder, check_output_file
from pipeline.sinks.recorder import FORMATS as VIDEO_FORMATS

ENCODING = {
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 3),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95),
    ".bmp": (),
    ".tif": (),
    ".tiff": (),
}
"""The image formats by suffix, with cv2's parameters."""


class _Target(Enum):
    FILE = "file"
    FOLDER = "folder"


class Images(Sink):
    """Annotated images of a source of stills.

    Args:
        settings: `path` is an image file (the source is exactly one image) or a folder, which is made if missing.
        inputs: files that must not be overwritten.
    """

    name = "images"
    delivery = Delivery.EVERY_FRAME

    def __init__(self, settings: RecorderSettings, inputs: Inputs | None = None) -> None:
        if settings.path is None:
            raise ValueError("Images needs settings.path")
        self._text = settings.path
        self._path = Path(settings.path)
        self._inputs = inputs or Inputs()
        self._target = _Target.FOLDER
        self._written: list[Path] = []
        self._taken: set[str] = set()

    def open(self, context: RunContext) -> None:
        """Check what can be checked; nothing is written yet. Raises InputError."""
        if context.source.kind is not SourceKind.STILLS:
            raise InputError(
                f"--output {self._text}: the source is a video; give a file that ends in .mp4, .mkv or .mov."
            )
        self._target = self._target_of(context.source)
        if self._target is _Target.FILE:
            check_output_file(self._path, "--output", self._inputs)
        else:
            existing = next(folder for folder in (self._path, *self._path.absolute().parents) if folder.exists())
            check_folder(existing, f"--output {self._text}")

    def write(self, presentation: Presentation) -> None:
        """Write one image. Raises RunError when it cannot be written, or would overwrite an input."""
        path = self._path if self._target is _Target.FILE else self._path / self._name(presentation)
        if self._target is _Target.FILE and self._written:
            raise RunError(f"--output {self._path} is one image, but the source gives more: give a folder (out/).")
        if path in self._inputs:
            raise RunError(f"{path} is one of the images that are read: give another folder as --output.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, presentation.annotated_bgr)
        except OSError as error:
            raise RunError(f"Writing {path} failed: {error.strerror or error}.") from error
        self._written.append(path)

    def close(self) -> None:
        """Nothing is open between two images."""

    @property
    def outputs(self) -> Sequence[str]:
        """The image, or the folder once there is an image in it."""
        return (str(self._path),) if self._written else ()

    def _target_of(self, source: SourceInfo) -> _Target:
        suffix = self._path.suffix.lower()
        if self._text.endswith(("/", os.sep)) or self._path.is_dir() or not suffix:
            return _Target.FOLDER
        if suffix in VIDEO_FORMATS:
            raise InputError(
                f"--output {self._text} is a video, but the source gives single images: "
                "give an image file (out.png) or a folder (out/)."
            )
        if suffix not in ENCODING:
            raise InputError(
                f"--output {self._text}: images are written as {', '.join(ENCODING)}. For a folder, end with a slash."
            )
        if source.frame_count is not None and source.frame_count > 1:
            raise InputError(
                f"--output {self._text} is one image, but the source gives {source.frame_count}: give a folder (out/)."
            )
        return _Target.FILE

    def _name(self, presentation: Presentation) -> str:
        """The source image's own name; PNG where its format cannot be written, a number where the name is taken."""
        source = Path(presentation.segmented.frame.source_id)
        suffix = source.suffix if source.suffix.lower() in ENCODING else ".png"
        name, number = f"{source.stem}{suffix}", 2
        while name.casefold() in self._taken:
            name, number = f"{source.stem}-{number}{suffix}", number + 1
        self._taken.add(name.casefold())
        return name


def write_image(path: Path, image_bgr: NDArray[np.uint8]) -> None:
    """Write an image in the format of the suffix, all or nothing. Raises OSError.

    Args:
        path: ends in one of `ENCODING`.
        image_bgr: uint8 (H, W, 3).
    """
    try:
        done, data = cv2.imencode(path.suffix, image_bgr, ENCODING[path.suffix.lower()])
    except cv2.error as error:
        raise OSError(f"{path.suffix} cannot hold a picture of {image_bgr.shape[1]}x{image_bgr.shape[0]}") from error
    if not done:
        raise OSError(f"{path.suffix} cannot hold a picture of {image_bgr.shape[1]}x{image_bgr.shape[0]}")
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(data.tobytes())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
