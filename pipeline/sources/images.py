"""Reads still images: one file, a folder, or the matches of a glob pattern."""

from __future__ import annotations

import contextlib
import logging
import struct
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL.Image import Exif

from pipeline.errors import InputError, RunError
from pipeline.records import Clock, Frame, Image, SourceInfo, SourceKind
from pipeline.sources.base import Source
from pipeline.sources.decoder import blend_on_white
from pipeline.threads.opencv_process import quiet_opencv

log = logging.getLogger(__name__)

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Steps through rows and columns by EXIF orientation; from 5 on, both are swapped first (Exif 2.3, 4.6.4)."""
_ALPHA_SUFFIXES = frozenset((".png", ".webp", ".tif", ".tiff", ".avif", ".exr"))


class ImagesSource(Source):
    """Reads images one by one, in the given order.

    An unreadable image among several is skipped with a warning; it is an error if none can be read.

    Args:
        paths: the files, at least one.
        name: display name: that of the folder, the pattern, or the file.
        clock: seconds, monotonic.
    """

    def __init__(self, paths: Sequence[Path], name: str, clock: Clock = time.monotonic) -> None:
        if not paths:
            raise ValueError("ImagesSource needs at least one path")
        self._paths = tuple(paths)
        self._name = name
        self._clock = clock
        self._position = 0
        self._index = 0
        self._first: tuple[Path, Image] | None = None
        self._interrupted = False

    def open(self) -> SourceInfo:
        self._first = self._next_image()
        if self._first is None:
            raise InputError(self._none_readable())
        _path, image = self._first
        count = len(self._paths) - (self._position - 1)  # without those skipped so far
        height, width = image.shape[:2]
        what = "image" if len(self._paths) == 1 else f"{len(self._paths)} images, the first"
        return SourceInfo(
            source_id=self._name,
            kind=SourceKind.STILLS,
            width=width,
            height=height,
            frame_count=count,
            time_base=Fraction(1),
            description=f"{self._name}: {what} {width}x{height}",
        )

    def read(self) -> Frame | None:
        if self._interrupted:
            return None
        found, self._first = self._first or self._next_image(), None
        if found is None:
            if self._index == 0:
                raise RunError(self._none_readable())
            return None
        path, image = found
        frame = Frame(path.name, self._index, 0, Fraction(1), self._clock(), image)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._interrupted = True
        self._first = None

    def _next_image(self) -> tuple[Path, Image] | None:
        while self._position < len(self._paths) and not self._interrupted:
            path = self._paths[self._position]
            self._position += 1
            try:
                return path, load_image(path)
            except InputError as error:
                if len(self._paths) == 1:
                    raise
                self.warnings.add("unreadable images skipped:", path.name)
                log.warning("skipped: %s", error)
        return None

    def _none_readable(self) -> str:
        return f"none of the {len(self._paths)} images in {self._name} can be read, first {self._paths[0].name}"


def load_image(path: Path) -> Image:
    """An image file as uint8 (H, W, 3) BGR.

    EXIF orientation is applied; gray, 16-bit and CMYK images are converted; transparency is blended onto white.
    Raises InputError if the file cannot be read as an image.
    """
    try:
        # Not cv2.imread, which on Windows opens no path outside the system's code page.
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from None
    if data.size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    if data[:8].tobytes() == _PNG_HEAD and b"IEND" not in data.tobytes():
        # Checked here, because libpng would print a message of its own. Anything may follow the end.
        raise InputError(f"{path} ({data.size:,} bytes) is truncated: the end of the PNG is missing")
    with _decoding(path):
        image: Image | None = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None or image.size == 0:
        raise InputError(f"{path} ({data.size:,} bytes) is damaged or not an image of a known format")
    return _with_alpha(image, data, path)


def _with_alpha(image: Image, data: Image, path: Path) -> Image:
    stored = decode_bgra(data, path) if path.suffix.lower() in _ALPHA_SUFFIXES else None
    if stored is None or stored.shape[:2] != image.shape[:2]:
        return image
    return blend_on_white(np.dstack([image, stored[:, :, 3]]))


def decode_bgra(data: Image, path: Path) -> Image | None:
    """An image file's content as uint8 (H, W, 4) BGRA with straight alpha; None if it has no alpha, or one of floats.

    EXIF orientation is applied, which OpenCV only does where it drops the alpha.
    Raises InputError if it cannot be decoded.
    """
    with _decoding(path):
        stored, kinds, metadata = cv2.imdecodeWithMetadata(data, cv2.IMREAD_UNCHANGED)
    if stored is not None and stored.dtype == np.uint16:
        stored = (stored >> 8).astype(np.uint8)
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4 or stored.dtype != np.uint8:
        return None
    exif = [part.tobytes() for kind, part in zip(kinds, metadata, strict=True) if kind == cv2.IMAGE_METADATA_EXIF]
    orientation = _orientation(exif[0]) if exif else 1
    upright = stored.transpose(1, 0, 2) if 5 <= orientation <= 8 else stored
    rows, columns = _FLIPS.get(orientation, (1, 1))
    return np.ascontiguousarray(upright[::rows, ::columns], np.uint8)


def _orientation(exif: bytes) -> int:
    tags = Exif()
    try:
        tags.load(exif)
        return int(tags.get(_ORIENTATION, 1))
    except (OSError, LookupError, SyntaxError, TypeError, ValueError, struct.error):  # damaged: OpenCV passes over it
        return 1


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        with quiet_opencv():
            yield
    except cv2.error as error:
        raise InputError(f"{path} cannot be decoded: {error.err or 'unknown reason'}") from None
    except MemoryError:
        raise InputError(f"{path} is too large for this machine's memory") from None
