"""What the results of a batch depend on: settings, weights, code and libraries. Results of two are never mixed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import socket
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mrcnn.engines.calibration import found_calibration
from mrcnn.weights.digest import sha256_of
from pipeline.errors import InputError
from pipeline.installation import ROOT
from pipeline.segmentation.weights_file import find_weights
from pipeline.settings.camera_settings import ADDRESSES
from pipeline.settings.schema import Settings
from pipeline.version import __version__

FORMAT = 1
PACKAGES = (
    "numpy",
    "scipy",
    "opencv-contrib-python",
    "av",
    "pycocotools",
    "openvino",
    "onnxruntime",
    "keras",
    "tensorflow",
    "jax",
    "torch",
)
"""What decodes, computes, tracks and encodes; the rest leaves results alone."""
_NOT_PART: dict[str, Any] = {
    "source": dict.fromkeys((*ADDRESSES, "policy", "realtime", "loop", "reconnect", "rtsp_transport"), True),
    "output": dict.fromkeys(
        ("path", "overwrite", "record_dir", "segment_s", "keep_bytes", "keep_s", "min_free_bytes"), True
    ),
    "detections": {"path": True},
    "model": {"weights": True, "labels": True},
    "background": {"picture": True},
    **dict.fromkeys(
        ("window", "virtual_camera", "slate", "attract", "supervision", "serve", "progress", "cameras"), True
    ),
}
"""Settings that change nothing in the results of a file, or name a file whose content counts."""
_OTHER_CODE = {"commands", "console", "evaluation", "report", "web", "training", "matterport"}
"""Folders whose code makes no results."""


def depends_on(settings: Settings, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Everything that decides what a recording gives, but for the engine, which is chosen once for a batch.

    Args:
        settings: of the batch.
        outputs: kinds of outputs.

    Raises:
        InputError: the weights or a file that the settings name cannot be read.
    """
    weights = find_weights(settings.model.weights).path
    paths = {
        "weights": weights,
        "labels": settings.model.labels,
        "background": settings.background.picture,
    }
    files = {kind: _digest(Path(path)) for kind, path in paths.items() if path is not None}
    calibration = found_calibration(weights)
    files["calibration"] = None if calibration is None else _digest(calibration)
    return {
        "format": FORMAT,
        "outputs": list(outputs),
        "settings": settings.model_dump(mode="json", exclude=_NOT_PART),
        "files": files,
        "versions": versions(),
    }


@cache
def versions() -> dict[str, str]:
    """The version of the program, a hash of its code, and the versions of the packages that are installed."""
    found = {"stream_segment": __version__, "code": _code_hash()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def check_unchanged(kept: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises InputError, which names what has changed since the folder's first batch."""
    differences = list(_differences(kept, now, ""))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise InputError(
            f"{folder} holds results that were made otherwise: {'; '.join(differences[:3])}{more}. "
            "Give another --output, or what was given then"
        )


def check_same_versions(batch: Mapping[str, str]) -> None:
    """Raises InputError unless this machine has the versions that a batch is made with."""
    differences = list(_differences(batch, versions(), ""))
    if differences:
        raise InputError(f"{socket.gethostname()} has other versions than the batch: {'; '.join(differences[:3])}")


def _differences(kept: object, now: object, key: str) -> Iterator[str]:
    if isinstance(kept, Mapping) and isinstance(now, Mapping):
        for name in sorted({*kept, *now}):
            yield from _differences(kept.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif kept != now:
        yield f"{key.removeprefix('settings.')} was {_short(kept)} and is {_short(now)}"


def _short(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _digest(path: Path) -> str | None:
    """SHA-256 of a file; None if it is not there."""
    path = path.expanduser()
    try:
        return str(sha256_of(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _code_hash() -> str:
    """SHA-256 of the Python files that make results, so that two states of a clone differ."""
    digest = hashlib.sha256()
    paths = sorted(path for top in ("pipeline", "mrcnn") for path in (ROOT / top).rglob("*.py"))
    for path in (path for path in paths if path.parent.name not in _OTHER_CODE):
        digest.update(os.fsencode(path.relative_to(ROOT).as_posix()) + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
