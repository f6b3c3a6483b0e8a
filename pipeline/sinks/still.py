"""Saves the picture that a window shows."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from pipeline.file_names import plain_name
from pipeline.records import Frame, Image, SourceKind
from pipeline.sinks.images import write_image
from pipeline.sinks.paths import create_new, numbered, remove_empty

log = logging.getLogger(__name__)


def save_still(image_bgr: Image, folder: Path, name: str) -> Path | None:
    """Save a picture as NAME.png, or under a free name beside it; None, with a warning, where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = create_new(numbered(folder / f"{name}.png"))
        try:
            write_image(path, image_bgr)
        except OSError:
            remove_empty(path)
            raise
    except OSError as error:
        log.warning("saving the still %s failed: %s", folder / name, error)
        return None
    log.info("saved %s", path)
    return path


def still_name(frame: Frame, kind: SourceKind, now: datetime) -> str:
    """A file name from source and time, without suffix: "clip-00-01-23.480", "camera-0-20260314-150926"."""
    source = frame.source_id if kind is SourceKind.LIVE else Path(frame.source_id).stem
    source = plain_name(source) or "still"
    if kind is SourceKind.STILLS:
        return source
    if kind is SourceKind.LIVE:
        return f"{source}-{now:%Y%m%d-%H%M%S}"
    minutes, milliseconds = divmod(round(frame.position_s * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{source}-{hours:02d}-{minutes:02d}-{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
