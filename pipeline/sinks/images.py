"""Writes annotated still images: one file, or a folder of files named like the source's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2

from pipeline.errors import InputError, RunError
from pipeline.file_names import user_path
from pipeline.records import Image, SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Outputs, numbered, replace_file
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
"""The supported formats by suffix, with OpenCV's encoding parameters."""


class Images(Sink):
    """Annotated images of a source of stills.

    Args:
        settings: `path` is an image file (for a source of exactly one image) or a folder, created if missing.
        outputs: the files that the run writes, these among them.
    """

    name = "images"
    delivery = Delivery.EVERY_FRAME

    def __init__(self, settings: RecorderSettings, outputs: Outputs | None = None) -> None:
        self._path = user_path(settings.path, "--output")
        self._text = settings.path or ""
        self._outputs = outputs or Outputs()
        self._name: Path | None = None
        self._is_folder = True
        self._written: list[Path] = []
        self._taken: set[str] = set()

    def open(self, context: RunContext) -> None:
        """Check the path; nothing is written yet. Raises InputError."""
        if context.source.kind is not SourceKind.STILLS:
            raise InputError(
                f"--output {self._text}: the source is a video; give a file that ends in .mp4, .mkv or .mov."
            )
        self._is_folder = self._text.endswith(("/", os.sep)) or self._path.is_dir() or not self._path.suffix
        if self._is_folder:
            self._outputs.claim_folder(self._path, "--output")
            return
        suffix, count = self._path.suffix.lower(), context.source.frame_count
        if suffix in VIDEO_FORMATS:
            raise InputError(
                f"--output {self._text} is a video, but the source consists of images: "
                "give an image file (out.png) or a folder (out/)."
            )
        if suffix not in ENCODING:
            raise InputError(
                f"--output {self._text}: the image formats are {', '.join(ENCODING)}. End a folder's name with a slash."
            )
        if count is not None and count > 1:
            raise InputError(f"--output {self._text} is one image, but the source has {count}: give a folder (out/).")
        self._outputs.claim_file(self._path, "--output")

    def write(self, presentation: Presentation) -> None:
        """Write one image. Raises RunError if that fails."""
        if not self._is_folder and self._written:
            raise RunError(f"--output {self._path} is one image, but the source has more: give a folder (out/).")
        path = self._path
        try:
            if self._name is None:
                self._name = self._outputs.name_of(self._path)
            path = self._name / self._image_name(presentation) if self._is_folder else self._name
            write_image(path, presentation.annotated_bgr)
        except OSError as error:
            raise RunError(f"Writing {path} failed: {error.strerror or error}.") from error
        self._written.append(path)

    def close(self) -> None:
        """Remove an output without an image; each image is closed as soon as it is written."""
        self._outputs.release(self._path)

    @property
    def outputs(self) -> Sequence[str]:
        """The image or folder, if anything was written."""
        return (str(self._name),) if self._written else ()

    def _image_name(self, presentation: Presentation) -> str:
        """The name of the source image, as PNG if its format cannot be written, numbered if the name is taken."""
        source = Path(presentation.segmented.frame.source_id)
        suffix = source.suffix if source.suffix.lower() in ENCODING else ".png"
        names = (path.name for path in numbered(Path(f"{source.stem}{suffix}")))
        name = next(name for name in names if name.casefold() not in self._taken)
        self._taken.add(name.casefold())
        return name


def write_image(path: Path, image_bgr: Image) -> None:
    """Write an image atomically, in the format of the suffix. Raises OSError.

    Args:
        path: its suffix is one of `ENCODING`.
        image_bgr: uint8 (H, W, 3).
    """
    try:
        encoded, data = cv2.imencode(path.suffix, image_bgr, ENCODING[path.suffix.lower()])
    except cv2.error:
        encoded = False
    if not encoded:
        raise OSError(f"{path.suffix} does not support images of {image_bgr.shape[1]}x{image_bgr.shape[0]}")
    replace_file(path, data.tobytes())
