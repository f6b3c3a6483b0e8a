"""Finds the image files of an annotation file, checks them without decoding them, and reads one."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mrcnn.coco.annotation_file import AnnotationError, CocoImage, first_of

TAIL_BYTES = 64
"""The end mark is searched in so many last bytes: some programs append a few of their own."""

END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}

TRANSPOSING_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations (tag 274) that rotate a picture by a quarter turn."""


def locate(annotations: Path, folder: Path, images: Mapping[int, CocoImage]) -> dict[int, Path]:
    """The image files by image id.

    Exporters write the folder of their own machine (images/a.jpg, C:\\data\\a.jpg): a file of that path is tried first,
    then one of that name.

    Args:
        annotations: the annotation file, for messages.
        folder: the image folder.
        images: by id.

    Raises:
        AnnotationError: there is no such folder, or files are missing.
    """
    if not folder.is_dir():
        raise AnnotationError(f"the image folder {folder} {'is a file' if folder.exists() else 'does not exist'}")
    found: dict[int, Path] = {}
    missing: list[CocoImage] = []
    for image_id, image in images.items():
        slashed = image.file_name.replace("\\", "/")
        candidates = [folder / image.file_name, folder / slashed, folder / slashed.rsplit("/", 1)[-1]]
        path = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
        if path is None:
            missing.append(image)
        else:
            found[image_id] = path
    if missing:
        first, *others = missing
        more = f" (and {len(others)} more: {first_of([image.image_id for image in others])})" if others else ""
        raise AnnotationError(
            f"{annotations}: image {first.image_id} is {first.file_name!r}, but {folder / first.file_name} does not "
            f"exist{more}"
        )
    return found


def check_image_files(annotations: Path, paths: Mapping[int, Path], images: Mapping[int, CocoImage]) -> None:
    """Every image has a file of its own, which is whole and has the annotated size.

    Args:
        annotations: the annotation file, for messages.
        paths: image id to path, see `locate`.
        images: by id.

    Raises:
        AnnotationError: names the first image that is not so, and counts the others.
    """
    owner: dict[Path, int] = {}
    for image_id, path in paths.items():
        if path in owner:
            raise AnnotationError(f"{annotations}: the images {owner[path]} and {image_id} are the same file, {path}")
        owner[path] = image_id
    faults = {image_id: fault for image_id, path in paths.items() if (fault := fault_of(path, images[image_id]))}
    if faults:
        (first, text), *others = faults.items()
        more = f" (and {len(others)} more: images {first_of([i for i, _ in others])})" if others else ""
        raise AnnotationError(f"{annotations}: image {first}, {paths[first]}, {text}{more}")


def fault_of(path: Path, image: CocoImage) -> str | None:
    """What is wrong with an image file, which exists; None if nothing is. Annotations are of the image as displayed."""
    size = image.width, image.height
    try:
        with Image.open(path) as picture:
            kind, stored = picture.format, picture.size
            is_turned = _is_turned(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"is not readable as an image ({error})" if path.stat().st_size else "is empty (0 bytes)"
    found = stored[::-1] if is_turned else stored
    if found != size:
        hint = ""
        if is_turned and stored == size:
            hint = ", as it is stored, without its rotation tag: remove the tag (exiftool -Orientation=)"
        return f"is {found[0]} x {found[1]} pixels, the annotations say {size[0]} x {size[1]}{hint}"
    if not _has_end_mark(path, kind or "") and not _decodes(path):
        return f"is cut off or damaged ({path.stat().st_size} bytes)"
    return None


def _is_turned(picture: Image.Image) -> bool:
    if "exif" not in picture.info:  # a PNG would be decoded to look for it
        return False
    try:
        return picture.getexif().get(274) in TRANSPOSING_ORIENTATIONS
    except (OSError, LookupError, SyntaxError, TypeError, ValueError, struct.error):  # damaged: OpenCV passes over it
        return False


def _has_end_mark(path: Path, kind: str) -> bool:
    mark = END_MARKS.get(kind)
    if mark is None:
        return False
    with path.open("rb") as opened:
        opened.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return mark in opened.read()


def _decodes(path: Path) -> bool:
    """For formats without an end mark, and files with other data behind it."""
    try:
        with Image.open(path) as picture:
            picture.load()
        return read_image_bgr(path) is not None
    except (OSError, ValueError, SyntaxError):
        return False


def read_image_bgr(path: str | os.PathLike[str], upright: bool = False) -> NDArray[np.uint8] | None:
    """An image in color; an alpha channel is dropped.

    Unlike cv2.imread, opens paths outside the system's code page under Windows.

    Args:
        path: of the file.
        upright: whether to apply its rotation tag, as every viewer does; otherwise it is as stored.

    Returns:
        uint8 (H, W, 3), BGR; None: OpenCV cannot decode it, or it is empty.

    Raises:
        OSError: the file cannot be read.
    """
    content = np.fromfile(path, np.uint8)
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.imdecode(content, flags) if content.size else None
