"""Downloads Matterport's COCO weights into a folder: checks, progress, and errors for the user."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import IO

from mrcnn.weights.download import (
    COCO,
    DownloadError,
    DownloadSettings,
    WrongFileError,
    check_weights,
    fetch_weights,
    part_of,
)
from pipeline.console.progress import DownloadProgress
from pipeline.errors import InputError, RunError
from pipeline.segmentation.weights_file import COCO_NAME
from pipeline.sinks.paths import create_new, numbered

logger = logging.getLogger(__name__)


def download_coco_weights(target_dir: Path, settings: DownloadSettings = COCO, output: IO[str] | None = None) -> Path:
    """Download mask_rcnn_coco.h5 into a folder, which is made if need be. Keeps a valid file that is already there, and
    renames any other of that name.

    The download is written to `mask_rcnn_coco.h5.part`, which a later call resumes.

    Args:
        target_dir: the folder.
        settings: source, timeouts and retries.
        output: for the progress; standard error by default.

    Returns:
        Path of the file.

    Raises:
        InputError: the folder cannot be written, or has too little room.
        RunError: no network, a server without the file, a wrong file, a full disk.
    """
    target = target_dir / COCO_NAME
    if target.exists():
        try:
            check_weights(target, settings.size)
        except WrongFileError as error:
            kept = _set_aside(target)
            logger.warning("%s is not the COCO weights file (%s): kept as %s; fetching it", target, error, kept)
        else:
            logger.info("%s is already there and complete", target)
            return target
    _prepare_folder(target_dir, part_of(target), settings.size)
    try:
        with DownloadProgress(COCO_NAME, settings.size, output) as progress:
            fetch_weights(target, settings, progress)
    except DownloadError as error:
        raise RunError(str(error)) from None
    except OSError as error:
        raise RunError(f"cannot write {part_of(target)}: {error.strerror or error}") from None
    return target


def _set_aside(path: Path) -> Path:
    """Rename somebody's file, so that the download does not replace it; return its new name."""
    names = numbered(path)
    next(names)  # its own
    try:
        return path.replace(create_new(names))
    except OSError as error:
        raise InputError(f"{path} is not the COCO weights file and cannot be renamed: {error.strerror}") from None


def _prepare_folder(folder: Path, part: Path, size: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not part.exists()
        with part.open("ab"):
            pass
        have = part.stat().st_size
        if is_new:
            part.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write the weights to {folder}: {error.strerror}; choose another with --dir") from None
    if free < size - have:
        raise InputError(
            f"{folder} has {free:,} bytes free, the weights need {size - have:,} more; choose another with --dir"
        )
