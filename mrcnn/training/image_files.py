"""Looks at image files without decoding them: size from the header, and whether the end is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from mrcnn.training.findings import AnnotationError, first_of
from mrcnn.training.image_reading import read_image_bgr

TAIL_BYTES = 64
"""Where the end mark of a whole file lies, with some room for what programs append."""

END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}

TRANSPOSING_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations (tag 274) that turn a picture by a quarter."""


def locate(annotations: Path, folder: Path, names: Mapping[int, str]) -> dict[int, Path]:
    """The files of images.

    Exporters write the folder that they knew (images/a.jpg, C:\\data\\a.jpg): a file of that path is looked for
    first, then one of that name.

    Args:
        annotations: the annotation file, for messages.
        folder: where the images lie.
        names: image id to file name.

    Raises:
        AnnotationError: files are missing, or two images are the same file.
    """
    found: dict[int, Path] = {}
    missing: list[int] = []
    for image_id, name in names.items():
        slashed = name.replace("\\", "/")
        candidates = [folder / name, folder / slashed, folder / slashed.rsplit("/", 1)[-1]]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            missing.append(image_id)
        else:
            found[image_id] = file
    if missing:
        first = missing[0]
        more = f" (and {len(missing) - 1} more: {first_of(missing[1:])})" if len(missing) > 1 else ""
        raise AnnotationError(
            f"{annotations}: image {first} is {names[first]!r}, but {folder / names[first]} does not exist{more}"
        )
    owner: dict[Path, int] = {}
    for image_id, file in found.items():
        if file in owner:
            raise AnnotationError(f"{annotations}: the images {owner[file]} and {image_id} are the same file, {file}")
        owner[file] = image_id
    return found


def check_image_files(annotations: Path, files: Mapping[int, Path], sizes: Mapping[int, tuple[int, int]]) -> None:
    """Every file is an image of the annotated size, and whole.

    Args:
        annotations: the annotation file, for messages.
        files: image id to file.
        sizes: image id to (width, height), pixels.

    Raises:
        AnnotationError: names the first that is not, and how many more there are.
    """
    faults = {image_id: fault for image_id, file in files.items() if (fault := fault_of(file, sizes[image_id]))}
    if faults:
        (first, text), *others = faults.items()
        more = f" (and {len(others)} more: images {first_of([i for i, _ in others])})" if others else ""
        raise AnnotationError(f"{annotations}: image {first}, {files[first]}, {text}{more}")


def fault_of(file: Path, size: tuple[int, int]) -> str | None:
    """What is wrong with an image file; None if nothing is.

    Args:
        file: exists.
        size: (width, height) that it should have, pixels.
    """
    try:
        with Image.open(file) as picture:
            kind, found = picture.format, picture.size
            orientation = picture.getexif().get(274) if found == size[::-1] else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"is not readable as an image ({error})" if file.stat().st_size else "is empty (0 bytes)"
    if found != size:
        hint = ""
        if orientation in TRANSPOSING_ORIENTATIONS:
            hint = " as seen, but is stored turned: save it upright (exiftran -a, ImageMagick's -auto-orient)"
        return f"is {found[0]} x {found[1]} pixels, the annotations say {size[0]} x {size[1]}{hint}"
    if not _ends_well(file, kind or "") and not _decodes(file):
        return f"is cut off or damaged ({file.stat().st_size} bytes)"
    return None


def _ends_well(file: Path, kind: str) -> bool:
    mark = END_MARKS.get(kind)
    if mark is None:
        return False
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - TAIL_BYTES))
        return mark in opened.read()


def _decodes(file: Path) -> bool:
    """For formats without an end mark, and files that have something behind it: decode it all."""
    try:
        with Image.open(file) as picture:
            picture.load()
        return read_image_bgr(file) is not None
    except (OSError, ValueError, SyntaxError):
        return False
