"""The folders of training runs: logs/shapes20261123T1205/mask_rcnn_shapes_0007.h5 is the seventh epoch of a run of a
Config named "Shapes" that began at that time."""

from __future__ import annotations

import os
import re
from datetime import datetime

_RUN_FILE = re.compile(r"[\w-]+?(?P<stamp>\d{8}T\d{4})[/\\]mask_rcnn_[\w-]+_(?P<epoch>\d{4,})\.h5$")


def position(path: str | os.PathLike[str] | None) -> tuple[str, int]:
    """When the run of a weight file began, as yyyymmddThhmm, and how many epochs it had done; now and 0 for a path
    that is no run's, or None."""
    found = _RUN_FILE.search(os.path.abspath(path)) if path is not None else None
    if found is None:
        return datetime.now().strftime("%Y%m%dT%H%M"), 0
    return found["stamp"], int(found["epoch"])


def paths(model_dir: str | os.PathLike[str], name: str | None, stamp: str) -> tuple[str, str]:
    """A run's folder, and the path of its weight files with {epoch:04d} in it."""
    name = (name or "").lower()
    folder = os.path.join(model_dir, name + stamp)
    return folder, os.path.join(folder, f"mask_rcnn_{name}_{{epoch:04d}}.h5")


def find_last(model_dir: str | os.PathLike[str], name: str | None) -> str:
    """The last weight file of the last run of a Config's name.

    Raises:
        FileNotFoundError: there is none.
    """
    prefix = (name or "").lower()
    folders = sorted(entry.path for entry in os.scandir(model_dir) if entry.is_dir() and entry.name.startswith(prefix))
    if not folders:
        raise FileNotFoundError(f"no training run whose name begins with {prefix!r} under {model_dir}")
    files = sorted(entry.path for entry in os.scandir(folders[-1]) if _is_weight_file(entry.name))
    if not files:
        raise FileNotFoundError(f"no weight file mask_rcnn_*.h5 in {folders[-1]}")
    return files[-1]


def _is_weight_file(name: str) -> bool:
    """A file that is still being written ends otherwise."""
    return name.startswith("mask_rcnn") and name.endswith(".h5")
