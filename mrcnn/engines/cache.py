"""Exported networks on disk, beside their weight file: written once and atomically, verified on each use.

    weights/cache/NAME-FINGERPRINT/manifest.json features.onnx proposals.onnx boxes.onnx masks.onnx
    weights/cache/NAME-FINGERPRINT/int8/manifest.json features.xml features.bin

The fingerprint depends on the content of the weight file and on the settings that are written into the graphs: other
weights of the same name get another folder.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config
from mrcnn.engines.base import EngineError
from mrcnn.weights.converted import FORMAT as CONVERSION_FORMAT
from mrcnn.weights.digest import sha256_of
from mrcnn.weights.state_dict import is_foreign
from mrcnn.weights.user_cache import temporary_cache, user_cache

MANIFEST = "manifest.json"
FORMAT = 4
"""Format version of the exported graphs; incremented when they change."""

PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
"""Nothing is written into these: pip does not remove what it has not installed."""

ABANDONED_S = 24 * 3600.0
"""Age at which temporary files are considered abandoned; no export takes this long."""

GRAPH_SETTINGS = (
    "ARCHITECTURE",
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
    "STEM_CHANNELS",
    "RPN_CHANNELS",
    "MASK_HEAD_CHANNELS",
)
"""Settings of a Config that are written into the graphs."""


_TEMPORARY = "stream_segment-engines-"
"""Prefix of the temporary folder, which is removed when the process ends."""


class CacheFault(EngineError):
    """A cached folder is missing, outdated or damaged; the message says which."""


def fingerprint(weights: Path, config: Config) -> str:
    """A digest of everything that a network's exported graphs depend on: 16 hexadecimal digits.

    Raises:
        EngineError: BACKBONE is a function, whose changes cannot be detected.
    """
    if callable(config.BACKBONE):
        raise EngineError("a BACKBONE that is a function cannot be exported: register it in BACKBONES under a name")
    stat = weights.stat()
    digest = hashlib.sha256(_weights_digest(weights, stat.st_size, stat.st_mtime_ns).encode())
    settings = {name: np.asarray(getattr(config, name)).tolist() for name in GRAPH_SETTINGS if hasattr(config, name)}
    converted = [CONVERSION_FORMAT] if is_foreign(weights) else []
    digest.update(json.dumps([FORMAT, settings, *converted], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def cache_folder(weights: Path, config: Config) -> Path:
    """The folder for a weight file's graphs, which may not exist yet.

    It is beside the weight file; if that is not writable or is part of an installed package, in the user's cache; if
    neither is writable, in a temporary folder that is removed when the process ends.
    """
    name = f"{weights.stem}-{fingerprint(weights, config)}"
    for parent in _persistent_folders(weights):
        if os.path.isdir(parent / name) or _is_writable(parent):
            return parent / name
    try:
        return temporary_cache(_TEMPORARY) / name
    except OSError:
        return user_cache() / "engines" / name  # writing to it will fail with the reason


def writable_folder(inner: Path) -> Path:
    """A folder inside of a `cache_folder`, or its counterpart in the user's cache if that may only be read."""
    if _is_writable(inner.parent):
        return inner
    return user_cache() / "engines" / inner.parent.name / inner.name


def check_persistent(folder: Path, weights: Path) -> None:
    """Raise EngineError if this `cache_folder` of a weight file is the temporary folder."""
    if folder.parent.name.startswith(_TEMPORARY):
        folders = " or ".join(map(str, _persistent_folders(weights)))
        raise EngineError(
            f"cannot write to {folders}, where the result would be kept: make it writable, or "
            "copy the weights to a writable folder and select them with --weights"
        )


def _persistent_folders(weights: Path) -> list[Path]:
    beside, in_user_cache = weights.resolve().parent / "cache", user_cache() / "engines"
    return [in_user_cache] if PACKAGE_FOLDERS & set(beside.parts) else [beside, in_user_cache]


def read(folder: Path, version: str) -> dict[str, Path]:
    """The verified files of a cached folder, by stem.

    Args:
        folder: from `write`.
        version: version of the writer; files of other versions are not used.

    Raises:
        CacheFault: the folder is missing or of another version, or a file is missing, truncated or changed.
    """
    path = folder / MANIFEST
    if not os.path.isfile(path):
        is_there = os.path.isdir(folder)
        raise CacheFault(f"{folder} has no {MANIFEST}: incomplete" if is_there else f"{folder} does not exist")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written_by, files = str(manifest["version"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheFault(f"{path} cannot be read ({error})") from None
    if written_by != version:
        raise CacheFault(f"{folder} was written by {written_by}, this is {version}")
    for name, expected in files.items():
        file = folder / name
        try:
            is_intact = file.is_file() and sha256_of(file) == expected
        except OSError as error:
            raise CacheFault(f"{file} cannot be read ({error})") from None
        if not is_intact:
            raise CacheFault(f"{file} is missing, truncated or changed")
    return {Path(name).stem: folder / name for name in files if not name.endswith(".bin")}


def write(folder: Path, version: str, fill: Callable[[Path], None], notes: Mapping[str, object] | None = None) -> None:
    """Write a cached folder atomically; it replaces an existing one when it is complete.

    Args:
        folder: the folder to write.
        version: see `read`.
        fill: writes the files into the folder that it is called with.
        notes: JSON-able, stored in the manifest.

    Raises:
        OSError: the folder cannot be written (disk full, no permission). An existing one is untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    # Not by tempfile: under Windows, only this user could read it, and where it may not be made, that takes hours.
    part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
    part.mkdir()
    try:
        fill(part)
        files = {file.name: sha256_of(file) for file in sorted(part.iterdir()) if file.is_file()}
        manifest = {"version": version, "files": files, "notes": dict(notes or {})}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _move_into_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def notes(folder: Path) -> dict[str, Any]:
    """The notes stored by `write`."""
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["notes"])


def remove_outdated(folder: Path, version: str) -> list[Path]:
    """Remove the folders of the same weight file that have an older format.

    Folders of other settings, other weight files or a newer format stay, as do folders that are being written. Folders
    of earlier contents of the file also stay, because those contents may be restored.

    Args:
        folder: a folder just written for a weight file, with "weights" in its notes.
        version: the version it was written with, which ends in the number of the format.

    Returns:
        The removed folders.
    """
    weights = notes(folder).get("weights")
    name = re.compile(re.escape(folder.name.rpartition("-")[0]) + "-[0-9a-f]{16}")
    removed = []
    for other in sorted(folder.parent.iterdir()):
        if other == folder or other.is_symlink() or not name.fullmatch(other.name) or any(other.glob("*.part")):
            continue
        try:
            manifest = json.loads((other / MANIFEST).read_text(encoding="utf-8"))
            is_outdated = manifest["notes"]["weights"] == weights and _is_older(manifest["version"], version)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # its weight file is unknown
        if is_outdated:
            shutil.rmtree(other, ignore_errors=True)
            if not other.exists():
                removed.append(other)
    return removed


def _is_older(version: str, than: str) -> bool:
    """Whether a version differs from another one by a lower format number at its end."""
    (writer, _, number), (other_writer, _, other_number) = version.rpartition(" "), than.rpartition(" ")
    return writer == other_writer and int(number) < int(other_number)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left behind when they wrote this folder, but nothing that may still be written."""
    for left in folder.parent.glob(f"{glob.escape(folder.name)}.*"):
        with contextlib.suppress(FileNotFoundError):  # its writer has just finished
            if left.suffix in (".part", ".old") and time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _move_into_place(part: Path, folder: Path) -> None:
    """Replace a folder by a complete one, and restore it if that fails.

    Folders inside the replaced one (int8) move along: they depend on the same weights and are verified separately. One
    that cannot be moved is written anew when it is needed.
    """
    before = part.with_suffix(".old")
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder, before)
    try:
        os.replace(part, folder)
    except OSError:
        if not (folder / MANIFEST).is_file():  # otherwise another process has just written the same
            if before.exists():
                os.replace(before, folder)
            raise
    if before.is_dir():
        with contextlib.suppress(OSError):
            for entry in before.iterdir():
                if entry.is_dir() and not (folder / entry.name).exists():
                    os.replace(entry, folder / entry.name)
        shutil.rmtree(before, ignore_errors=True)
    else:
        before.unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _weights_digest(weights: Path, size: int, changed_ns: int) -> str:
    """SHA-256 of a weight file. It takes half a second for 257 MB and is needed several times at start."""
    return sha256_of(weights)


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not (os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)):
        return False
    probe = existing / f".probe-{uuid.uuid4().hex}"
    try:
        if os.name == "nt":  # where os.access says yes to every folder
            probe.mkdir()
            probe.rmdir()
    except OSError:
        return False
    return True
