"""The folders of training runs: logs/shapes20261123T1205/mask_rcnn_shapes_0007.h5 is the checkpoint after epoch 7 of a
run that started at that time with a Config named "Shapes"."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

_RUN_FILE = re.compile(r"[\w-]+?(?P<stamp>\d{8}T\d{4})[/\\]mask_rcnn_[\w-]+_(?P<epoch>\d{4,})\.h5$")


def position(path: str | os.PathLike[str] | None) -> tuple[str, int]:
    """Start time (yyyymmddThhmm) and completed epochs of the run that wrote a checkpoint.

    They are the current time and 0 for any other path, and for None.
    """
    found = _RUN_FILE.search(os.path.abspath(path)) if path is not None else None
    if found is None:
        return datetime.now().strftime("%Y%m%dT%H%M"), 0
    return found["stamp"], int(found["epoch"])


def paths(model_dir: str | os.PathLike[str], name: str | None, stamp: str) -> tuple[str, str]:
    """A run's folder, and the path template of its checkpoints with {epoch:04d}."""
    name = (name or "").lower()
    folder = os.path.join(model_dir, name + stamp)
    return folder, os.path.join(folder, f"mask_rcnn_{name}_{{epoch:04d}}.h5")


def find_last(model_dir: str | os.PathLike[str], name: str | None) -> str:
    """The newest checkpoint of the newest run with a Config's name.

    Raises:
        FileNotFoundError: no run or no checkpoint exists.
    """
    prefix = (name or "").lower()
    folders = sorted(entry.path for entry in os.scandir(model_dir) if entry.is_dir() and entry.name.startswith(prefix))
    if not folders:
        raise FileNotFoundError(f"no training run with a name that begins with {prefix!r} in {model_dir}")
    # Files that are still being written have another suffix.
    files = sorted(str(path) for path in Path(folders[-1]).glob("mask_rcnn*.h5"))
    if not files:
        raise FileNotFoundError(f"no weight file mask_rcnn_*.h5 in {folders[-1]}")
    return files[-1]
