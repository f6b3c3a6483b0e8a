"""The exported graphs of a weight file, from the cache or made now."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.engines import cache
from mrcnn.engines.base import EngineError

logger = logging.getLogger(__name__)


class ExportFault(EngineError):
    """The network cannot be exported, or the result cannot be kept: no engine that runs graphs can be had."""


VERSION = f"stream_segment export {cache.FORMAT}"
PARTS = ("features", "proposals", "boxes", "masks")
ROOT = Path(__file__).resolve().parents[2]
STILL_AT_IT_S = 5.0
_PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)


def exported_parts(weights: Path, config: Any, folder: Path | None = None) -> dict[str, Path]:
    """The ONNX file of each part.

    Args:
        weights: the weight file.
        config: the Config of its network.
        folder: of the cache; None: where `cache.cache_folder` says.

    Raises:
        ExportFault: the network cannot be exported, or the files cannot be written; the text is one line.
    """
    folder = folder or cache.cache_folder(weights, config)
    try:
        return _whole(folder)
    except cache.CacheFault as fault:
        if folder.exists():
            logger.warning("%s: it is made anew", fault)
    if importlib.util.find_spec("onnx") is None:
        raise ExportFault("to export the network the package onnx is needed: pip install onnx")
    _announce(weights, folder)
    notes = {"weights": weights.name}
    try:
        cache.write(folder, VERSION, lambda part: _export_unless_done(weights, config, part, folder), notes)
    except _DoneMeanwhile:
        pass
    except OSError as error:
        raise ExportFault(f"the exported network cannot be written to {folder}: {error}") from None
    _remove_outdated(weights, folder)
    return _whole(folder)


def _announce(weights: Path, folder: Path) -> None:
    try:
        cache.check_lasting(folder, weights)
    except EngineError as fault:
        logger.warning("preparing %s for this engine, for this run alone: %s", weights.name, fault)
    else:
        logger.info("preparing %s for this engine, once; the result is kept in %s", weights.name, folder)


def _remove_outdated(weights: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):  # what stays costs room, no more
        if removed := cache.remove_outdated(folder, VERSION):
            names = ", ".join(path.name for path in removed)
            logger.info("removed from %s what an older version had kept for %s: %s", folder.parent, weights.name, names)


def _whole(folder: Path) -> dict[str, Path]:
    parts = cache.read(folder, VERSION)
    missing = [name for name in PARTS if name not in parts]
    if missing:
        raise cache.CacheFault(f"{folder} has no {missing[0]}")
    return parts


class _DoneMeanwhile(Exception):
    """Another process has made the same; whoever reads its files keeps them."""


def _export_unless_done(weights: Path, config: Any, part: Path, folder: Path) -> None:
    _export(weights, config, part)
    with contextlib.suppress(cache.CacheFault):
        _whole(folder)
        raise _DoneMeanwhile


def _export(weights: Path, config: Any, folder: Path) -> None:
    if "keras" in sys.modules:
        _export_here(weights, config, folder)
        return
    # In a process of its own: this one is spared the framework's memory, and its messages.
    settings = {"config": {name: _plain(value) for name, value in _network_settings(config).items()}}
    paths = str(weights.resolve()), str(folder.resolve())
    command = [sys.executable, "-X", "utf8", "-m", "mrcnn.export", *paths]
    with subprocess.Popen(command, encoding="utf-8", errors="replace", cwd=ROOT, **_PIPES) as process:
        try:
            stderr = _wait(process, json.dumps(settings), weights.name)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise ExportFault(f"{weights} cannot be exported: {_reason(process.returncode, stderr)}")


def _wait(process: subprocess.Popen[str], text: str, name: str) -> str:
    """Give a process its input and wait for its end, with a line now and then; what it wrote to standard error."""
    began_s = time.monotonic()
    to_send: str | None = text
    while True:
        try:
            return process.communicate(to_send, timeout=STILL_AT_IT_S)[1]
        except subprocess.TimeoutExpired:
            to_send = None  # it has been taken; the rest is sent by the next call
            logger.info("still preparing %s: %.0f s", name, time.monotonic() - began_s)


def _reason(code: int, stderr: str) -> str:
    """In one line why a process has failed: what it says itself, among the framework's messages."""
    if code < 0:
        return f"its process was ended by signal {-code} (9: often for want of memory)"
    lines = stderr.strip().splitlines() or [f"exit code {code}"]
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])


def _export_here(weights: Path, config: Any, folder: Path) -> None:
    try:
        from mrcnn.export.write import write_parts

        write_parts(weights, config, folder)
    except (ValueError, ImportError) as error:  # WeightsError, ExportError; an onnx that does not load
        raise ExportFault(f"{weights} cannot be exported: {error}") from None


def _network_settings(config: Any) -> dict[str, Any]:
    from mrcnn.weights.metadata import NETWORK_SETTINGS, OPTIONAL_SETTINGS

    return {name: getattr(config, name) for name in (*NETWORK_SETTINGS, *OPTIONAL_SETTINGS) if hasattr(config, name)}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
