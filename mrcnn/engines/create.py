"""Creates engines from weight files; exports the graphs that some of them run, or gets those from the cache."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrcnn.config import Config
from mrcnn.engines import cache
from mrcnn.engines.base import Engine, EngineError
from mrcnn.engines.calibration import apply_changes, read_calibration
from mrcnn.engines.graph_engine import GraphEngine
from mrcnn.network.constants import EXACT_STEMS, PART_NAMES
from mrcnn.weights.metadata import network_settings

logger = logging.getLogger(__name__)


class ExportFault(EngineError):
    """The network cannot be exported, or the result cannot be written: no engine that runs graphs is available."""


VERSION = f"stream_segment export {cache.FORMAT}"
ROOT = Path(__file__).resolve().parents[2]
PROGRESS_INTERVAL_S = 5.0
_PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)


def exported_parts(weights: Path, config: Config, folder: Path | None = None) -> dict[str, Path]:
    """The ONNX files by part name, exported now if they are not cached.

    Args:
        weights: the weight file.
        config: settings of its network.
        folder: the cache folder; None for `cache.cache_folder`.

    Raises:
        ExportFault: the network cannot be exported, or the files cannot be written; the message is one line.
    """
    folder = folder or cache.cache_folder(weights, config)
    try:
        return _cached(folder)
    except cache.CacheFault as error:
        if folder.exists():
            logger.warning("%s: exporting again", error)
    if importlib.util.find_spec("onnx") is None:
        raise ExportFault("exporting the network requires the package onnx: pip install onnx")
    _announce(weights, folder)
    notes = {"weights": weights.name}
    try:
        cache.write(folder, VERSION, Export(weights, config, folder).write, notes)
    except _ExportedMeanwhile:
        pass
    except OSError as error:
        raise ExportFault(f"the exported network cannot be written to {folder}: {error}") from None
    _remove_outdated(weights, folder)
    return _cached(folder)


def _announce(weights: Path, folder: Path) -> None:
    try:
        cache.check_persistent(folder, weights)
    except EngineError as error:
        logger.warning("preparing %s for this engine, for this run only: %s", weights.name, error)
    else:
        logger.info("preparing %s for this engine, once; the result is kept in %s", weights.name, folder)


def _remove_outdated(weights: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):  # leftover folders only take disk space
        if removed := cache.remove_outdated(folder, VERSION):
            names = ", ".join(path.name for path in removed)
            logger.info("removed outdated exports of %s from %s: %s", weights.name, folder.parent, names)


def _cached(folder: Path) -> dict[str, Path]:
    parts = cache.read(folder, VERSION)
    missing = [name for name in PART_NAMES if name not in parts]
    if missing:
        raise cache.CacheFault(f"{folder} has no {missing[0]}")
    return parts


class _ExportedMeanwhile(Exception):
    """Another process has written the same folder, which others may already be reading."""


@dataclass(frozen=True, slots=True)
class Export:
    """Exports a network into a folder that becomes `folder` when it is complete."""

    weights: Path
    config: Config
    folder: Path

    def write(self, part: Path) -> None:
        """Export into `part`. Raises _ExportedMeanwhile if another process has completed `folder`."""
        self.export(part)
        with contextlib.suppress(cache.CacheFault):
            _cached(self.folder)
            raise _ExportedMeanwhile

    def export(self, part: Path) -> None:
        """Write the graphs: here if Keras is loaded already, else in a separate process. Raises ExportFault."""
        if "keras" not in sys.modules:
            self._in_process(part)
            return
        try:
            from mrcnn.export.parts import write_parts

            write_parts(self.weights, self.config, part)
        except (ValueError, ImportError) as error:  # WeightsError, ExportError; an onnx that does not load
            raise ExportFault(f"{self.weights} cannot be exported: {error}") from None

    def _in_process(self, part: Path) -> None:
        """A separate process saves this one the framework's memory and messages."""
        settings = {"config": network_settings(self.config)}
        paths = str(self.weights.resolve()), str(part.resolve())
        command = [sys.executable, "-X", "utf8", "-m", "mrcnn.export", *paths]
        with subprocess.Popen(command, encoding="utf-8", errors="replace", cwd=ROOT, **_PIPES) as process:
            try:
                stderr = _wait(process, json.dumps(settings), self.weights.name)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise ExportFault(f"{self.weights} cannot be exported: {_reason(process.returncode, stderr)}")


def _wait(process: subprocess.Popen[str], text: str, name: str) -> str:
    """Send a process its input, wait until it ends, log progress, and return its standard error."""
    began_s = time.monotonic()
    to_send: str | None = text
    while True:
        try:
            return process.communicate(to_send, timeout=PROGRESS_INTERVAL_S)[1]
        except subprocess.TimeoutExpired:
            to_send = None  # buffered by the first call; later calls send the rest
            logger.info("still preparing %s: %.0f s", name, time.monotonic() - began_s)


def _reason(code: int, stderr: str) -> str:
    """Why a process failed, in one line: its own error message among those of the framework."""
    if code < 0:
        return f"its process was killed by signal {-code} (9: often out of memory)"
    lines = stderr.strip().splitlines() or [f"exit code {code}"]
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])


INT8_VERSION = f"stream_segment int8 {cache.FORMAT}"
INT8_FOLDER = "int8"


def create_keras_engine(weights: Path, config: Config, precision: str) -> Engine:
    """Create an engine that computes the network in Keras.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: the weights do not match the network.
    """
    from mrcnn.engines.keras_engine import KerasEngine
    from mrcnn.network.folding import inference_copy
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.network.target import Target, default_target
    from mrcnn.weights.load_save import load_weights

    network = MaskRCNNNetwork(config)
    load_weights(network, weights)
    if precision != "float32" or default_target() is Target.ACCELERATOR:
        # on a CPU in float32, the copy would take seconds and not be faster
        network = inference_copy(network, precision)
    return KerasEngine(network)


def create_openvino_engine(weights: Path, config: Config, precision: str, threads: int | None = None) -> Engine:
    """Create an engine that runs the exported network with OpenVINO on the CPU.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", "bfloat16" or "int8"; int8 requires the result of `mrcnn.engines.quantize.quantize`.
        threads: number of CPU threads; None for one per core.

    Raises:
        EngineError: OpenVINO is missing, the CPU does not support the precision, the network cannot be exported, or it
            has not been quantized; the message is one line with the remedy.
    """
    from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime, check_precision, cpu_has_bfloat16

    if precision != "int8":
        check_precision(CpuPrecision(precision))  # before the export, which takes seconds
    folder = cache.cache_folder(weights, config)
    parts = exported_parts(weights, config, folder)
    if precision == "int8":
        parts |= int8_parts(weights, folder, parts)
        precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    exact_stem = config.BACKBONE in EXACT_STEMS
    return GraphEngine(OpenVinoRuntime(parts, CpuPrecision(precision), threads, exact_stem), config)


def create_onnx_engine(weights: Path, config: Config, precision: str, provider: str | None = None) -> Engine:
    """Create an engine that runs the exported network with ONNX Runtime.

    Args:
        weights: the weight file.
        config: settings of its network.
        precision: "float32", or "float16" with TensorRT.
        provider: "tensorrt", "cuda" or "cpu"; None for the fastest that is installed.

    Raises:
        EngineError: ONNX Runtime or the provider is missing, the provider does not support float16, or the network
            cannot be exported.
    """
    from mrcnn.engines.onnx_runtime import OnnxRuntime, available_providers

    provider = provider or available_providers()[0]
    folder = cache.cache_folder(weights, config)
    parts = exported_parts(weights, config, folder)
    return GraphEngine(OnnxRuntime(parts, provider, precision == "float16", folder / "tensorrt"), config)


def int8_parts(weights: Path, folder: Path, parts: Mapping[str, Path]) -> dict[str, Path]:
    """The int8 graphs by part name, written now from the weights' calibration if they are not cached.

    Args:
        weights: the weight file.
        folder: the cache folder.
        parts: the exported files.

    Raises:
        EngineError: there is no calibration, it does not fit, or the graphs cannot be written.
    """
    from mrcnn.engines.openvino_runtime import quantizable_models, save_models

    calibration, beside = read_calibration(weights), folder / INT8_FOLDER
    version = f"{INT8_VERSION} {calibration.digest}"
    for target in (beside, cache.writable_folder(beside)):
        with contextlib.suppress(cache.CacheFault):
            return cache.read(target, version)
    models = quantizable_models(parts)
    for name, changes in calibration.parts.items():
        apply_changes(models[name], changes)
    quantized = {name: models[name] for name in calibration.parts}
    try:
        cache.write(target, version, lambda part: save_models(quantized, part))
    except OSError as error:
        raise EngineError(f"the int8 network cannot be written to {target}: {error}") from None
    return cache.read(target, version)
