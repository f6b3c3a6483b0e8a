"""Exported networks on disk, beside the weights they were made from: made once, checked each time, replaced whole.

    weights/cache/NAME-FINGERPRINT/manifest.json features.onnx proposals.onnx boxes.onnx masks.onnx
    weights/cache/NAME-FINGERPRINT/int8/manifest.json features.xml features.bin

The fingerprint is of the weight file's content and of the settings that the graphs depend on: other weights under the
same name are another folder.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.engines.base import EngineError
from mrcnn.weights.user_cache import user_cache

MANIFEST = "manifest.json"
FORMAT = 2
"""Of the graphs: raised when what is exported changes."""

PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
"""Nothing is written below these: what pip has not put there it does not remove."""

ABANDONED_S = 24 * 3600.0
"""No export takes this long: what is older has nobody who finishes it."""

GRAPH_SETTINGS = (
    "BACKBONE",
    "TOP_DOWN_PYRAMID_SIZE",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "NUM_CLASSES",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
    "RPN_NMS_THRESHOLD",
    "RPN_BBOX_STD_DEV",
    "POOL_SIZE",
    "MASK_POOL_SIZE",
    "MEAN_PIXEL",
    "RPN_CHANNELS",
    "MASK_HEAD_CHANNELS",
)
"""Settings of a Config that are written into the graphs."""


_TEMPORARY = "stream_segment-engines-"
"""Prefix of the temporary folder, which is removed when the process ends."""


class CacheFault(EngineError):
    """A cached folder cannot be used; the text says why."""


def fingerprint(weights: Path, config: Any) -> str:
    """What a network's exported graphs depend on, as 16 hexadecimal digits.

    Raises:
        EngineError: the backbone is a function of the user's, of which nobody can tell whether it has changed.
    """
    if callable(config.BACKBONE):
        raise EngineError("a BACKBONE that is a function cannot be exported: register it in BACKBONES under a name")
    stat = weights.stat()
    digest = hashlib.sha256(_content(weights, stat.st_size, stat.st_mtime_ns).encode())
    settings = {name: np.asarray(getattr(config, name)).tolist() for name in GRAPH_SETTINGS if hasattr(config, name)}
    digest.update(json.dumps([FORMAT, settings], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def cache_folder(weights: Path, config: Any) -> Path:
    """Where the graphs of a weight file lie, or will lie: beside it; where that is not writable or is part of an
    installed package, in the user's cache; where that is not writable either, in a temporary folder that is removed
    when the process ends."""
    name = f"{weights.stem}-{fingerprint(weights, config)}"
    for parent in _lasting_folders(weights):
        if os.path.isdir(parent / name) or _is_writable(parent):
            return parent / name
    try:
        return _temporary_folder() / name
    except OSError:
        return user_cache() / "engines" / name  # writing to it will say why it cannot be


def check_lasting(folder: Path, weights: Path) -> None:
    """Raises EngineError if this `cache_folder` of a weight file is the temporary one, which the run removes."""
    if folder.parent.name.startswith(_TEMPORARY):
        raise EngineError(
            f"cannot write to {' or '.join(map(str, _lasting_folders(weights)))}, where the result would be kept: make "
            "it writable, or copy the weights to a folder that is, and name them with --weights"
        )


def _lasting_folders(weights: Path) -> list[Path]:
    beside, mine = weights.resolve().parent / "cache", user_cache() / "engines"
    return [mine] if PACKAGE_FOLDERS & set(beside.parts) else [beside, mine]


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix=_TEMPORARY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def read(folder: Path, version: str) -> dict[str, Path]:
    """The files of a cached folder by their stem, all of them whole.

    Args:
        folder: what `write` made.
        version: of whatever made the files; another one's are not used.

    Raises:
        CacheFault: there is none, it is of another version, or a file is missing, cut off or changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CacheFault(f"{folder} is not there" if not folder.is_dir() else f"{folder} has no {MANIFEST}: cut off")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        made_by, files = str(manifest["version"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheFault(f"{path} cannot be read ({error})") from None
    if made_by != version:
        raise CacheFault(f"{folder} was made by {made_by}, this is {version}")
    for name, expected in files.items():
        file = folder / name
        try:
            is_whole = file.is_file() and _digest(file) == expected
        except OSError as error:
            raise CacheFault(f"{file} cannot be read ({error})") from None
        if not is_whole:
            raise CacheFault(f"{file} is missing, cut off or changed")
    return {Path(name).stem: folder / name for name in files if not name.endswith(".bin")}


def write(folder: Path, version: str, fill: Callable[[Path], None], notes: Mapping[str, Any] | None = None) -> None:
    """Make a cached folder; it appears, or takes an older one's place, when it is complete.

    Args:
        folder: where.
        version: see `read`.
        fill: writes the files into the folder that it is given.
        notes: JSON-able, kept in the manifest.

    Raises:
        OSError: it cannot be written (disk full, no permission). What was there stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name + ".", suffix=".part"))
    try:
        fill(part)
        files = {file.name: _digest(file) for file in sorted(part.iterdir()) if file.is_file()}
        manifest = {"version": version, "files": files, "notes": dict(notes or {})}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        part.chmod(0o755)
        _take_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def notes(folder: Path) -> dict[str, Any]:
    """The notes that `write` was given."""
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["notes"])


def remove_outdated(folder: Path, version: str) -> list[Path]:
    """Remove the folders of the same weight file that are in an older format, which nothing reads any more.

    Folders of other settings, of other weight files, of a newer format, and those that somebody is writing into stay.
    So do folders of earlier contents of the file: it may be put back.

    Args:
        folder: what `write` has just made for a weight file, with "weights" in its notes.
        version: what `write` was given; it ends in the number of the format.

    Returns:
        What was removed.
    """
    weights = notes(folder).get("weights")
    name = re.compile(re.escape(folder.name.rpartition("-")[0]) + "-[0-9a-f]{16}")
    removed = []
    for other in sorted(folder.parent.iterdir()):
        if other == folder or other.is_symlink() or not name.fullmatch(other.name) or any(other.glob("*.part")):
            continue
        try:
            manifest = json.loads((other / MANIFEST).read_text(encoding="utf-8"))
            is_dead = manifest["notes"]["weights"] == weights and _is_older(manifest["version"], version)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # nobody can tell whose it is
        if is_dead:
            shutil.rmtree(other, ignore_errors=True)
            if not other.exists():
                removed.append(other)
    return removed


def _is_older(version: str, than: str) -> bool:
    """Whether a version is of the same maker, with a lower number of the format at its end."""
    (maker, _, number), (our_maker, _, our_number) = version.rpartition(" "), than.rpartition(" ")
    return maker == our_maker and int(number) < int(our_number)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed while they wrote this folder have left behind; not what one may be
    writing now."""
    for left in folder.parent.glob(f"{glob.escape(folder.name)}.*"):
        with contextlib.suppress(FileNotFoundError):  # its writer has just finished
            if left.suffix in (".part", ".old") and time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _take_place(part: Path, folder: Path) -> None:
    """Put a finished folder where it belongs. An older one stays until that has worked; folders inside it (int8) are
    taken over: they depend on the same weights, and are checked by themselves."""
    before = part.with_suffix(".old")
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder, before)
    try:
        os.replace(part, folder)
    except OSError:
        if not (folder / MANIFEST).is_file():  # else another process has just put the same there
            if before.exists():
                os.replace(before, folder)
            raise
    if before.is_dir():
        for entry in before.iterdir():
            if entry.is_dir() and not (folder / entry.name).exists():
                os.replace(entry, folder / entry.name)
        shutil.rmtree(before, ignore_errors=True)
    else:
        before.unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _content(weights: Path, size: int, changed_ns: int) -> str:
    """Digest of a weight file; of 257 MB it takes half a second, and a start asks for it several times."""
    return _digest(weights)


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
