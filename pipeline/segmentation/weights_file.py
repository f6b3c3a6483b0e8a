"""Finds the weight file of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.installation import is_clone, program_name, shipped_file

SHIPPED_NAME = "stream_segment_person.h5"
COCO_NAME = "mask_rcnn_coco.h5"
DIR_VARIABLE = "STREAM_SEGMENT_WEIGHTS_DIR"


@dataclass(frozen=True, slots=True)
class WeightsChoice:
    """A weight file, and why it was chosen, in words for the user."""

    path: Path
    reason: str


def weights_dir() -> Path:
    """The folder that downloads go to: STREAM_SEGMENT_WEIGHTS_DIR, else weights/ of a clone, else the user's cache."""
    named = os.environ.get(DIR_VARIABLE)
    if named:
        return user_path(named, DIR_VARIABLE)
    if is_clone():
        return shipped_file("weights")
    from mrcnn.weights.user_cache import user_cache

    return Path(user_cache(), "weights")


def find_weights(explicit: str | None) -> WeightsChoice:
    """The file the user named; else the shipped one; else COCO's; else the only other in the weights folder.

    Raises:
        InputError: the named file is missing, or there is none; the text says how to get one.
    """
    if explicit is not None:
        path = user_path(explicit, "--weights")
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"--weights {explicit}: the file {what}; expected Mask R-CNN weights (.h5)")
        return WeightsChoice(path, "named by the user")
    folder = weights_dir()
    shipped = folder if os.environ.get(DIR_VARIABLE) else shipped_file("weights")
    for path, reason in ((shipped / SHIPPED_NAME, "shipped with the program"), (folder / COCO_NAME, "COCO weights")):
        if path.is_file():
            return WeightsChoice(path, reason)
    others = sorted(folder.glob("*.h5")) if folder.is_dir() else []
    if len(others) == 1:
        return WeightsChoice(others[0], "the only one in the weights folder")
    found = f"{len(others)} files lie there, name one with --weights" if others else "there is none"
    raise InputError(f"no weights: looked in {folder} and {found}. {coco_hint()}, or put {COCO_NAME} there by hand")


def coco_hint() -> str:
    """How to get weights that fit, for messages about a file that does not."""
    return f"Get the COCO weights with `{program_name()} weights coco`"
