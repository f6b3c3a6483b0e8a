"""The checks of the command `doctor`, one for each topic."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import av

from mrcnn.weights.checkpoint import WeightsError, read_checkpoint
from mrcnn.weights.digest import sha256_of
from mrcnn.weights.user_cache import user_cache
from pipeline.commands.cameras import mode_text
from pipeline.errors import InputError
from pipeline.installation import install_command, shipped_file
from pipeline.safe_uri import SourceUri
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.weights_file import SHIPPED_NAME, find_weights, weights_dir
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision
from pipeline.settings.output_settings import RecorderSettings
from pipeline.settings.source_settings import SourceSettings
from pipeline.sinks.screen import Monitor, list_monitors, screen_available
from pipeline.sources.camera import NO_CAMERA
from pipeline.sources.camera_list import ANSWER_S, CameraLister, ListedCamera
from pipeline.sources.factory import sample_frames
from pipeline.version import __version__


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """A feature is not available."""
    PROBLEM = "problem"
    """The program, or one of its main uses, does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report.

    Attributes:
        topic: what was checked, one word.
        level: how bad it is.
        text: what was found.
        advice: what to do; "" if nothing is to be done.
        data: the same for programs, JSON-able.
    """

    topic: str
    level: Level
    text: str
    advice: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """A check, and how long it may take for each of its findings."""

    topic: str
    run: Callable[[], Iterable[Finding]]
    limit_s: float = 30.0


def check_system() -> Iterator[Finding]:
    """Versions and cores; always well."""
    cores = Machine().cores()
    data = {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": cores,
    }
    text = f"stream_segment {__version__}, Python {data['python']}, {platform.system()} {platform.machine()}"
    yield Finding("system", Level.OK, f"{text}, {cores} cores", data=data)


def check_cameras(list_cameras: Callable[[], Sequence[ListedCamera]] | None = None) -> Iterator[Finding]:
    """A finding for each camera."""
    cameras = (list_cameras or CameraLister().cameras)()
    if not cameras:
        yield Finding("camera", Level.WARNING, "none", f"{NO_CAMERA}. Files and network streams work without")
    for camera in cameras:
        data = asdict(camera)
        if camera.fault is not None:
            yield Finding("camera", Level.PROBLEM, f"{camera.source}: {camera.name}", camera.fault, data)
            continue
        offer = "its sizes are not listed"
        if camera.modes:
            offer = f"up to {mode_text(max(camera.modes, key=lambda mode: (mode.width * mode.height, mode.rates)))}"
        yield Finding("camera", Level.OK, f"{camera.source}: {camera.name}, {offer}", data=data)


def check_screen(
    available: Callable[[], tuple[bool, str]] = screen_available,
    monitors: Callable[[], Sequence[Monitor]] = list_monitors,
) -> Iterator[Finding]:
    """Whether a window can be opened, and on which monitors."""
    is_available, reason = available()
    if not is_available:
        advice = "run with --no-window and --output, or watch the run in a browser with --serve 8080"
        yield Finding("screen", Level.WARNING, f"no window: {reason}", advice)
        return
    try:
        found = list(map(str, monitors()))
    except OSError as error:
        text = f"windows work, the monitors cannot be listed: {error}"
        yield Finding("screen", Level.WARNING, text, "without the list, window.monitor has no effect")
        return
    yield Finding("screen", Level.OK, ", ".join(found), data={"monitors": found})


ENCODERS = {"libx264": "--output", "aac": "the sound of a recording"}
DECODERS = {
    "h264": "most files and cameras",
    "hevc": "files of phones, IP cameras",
    "mjpeg": "HTTP cameras",
    "vp9": "WebM",
    "av1": "newer files",
    "mpeg4": "older files",
    "aac": "sound",
}
"""What the program needs of FFmpeg, and for what."""


def check_codecs() -> Iterator[Finding]:
    """Encoders and decoders in this PyAV."""
    for kind, mode, needed in (("encoders", "w", ENCODERS), ("decoders", "r", DECODERS)):
        missing = [name for name in needed if not _has_codec(name, mode)]
        for name in missing:
            level = Level.PROBLEM if name in ("libx264", "h264") else Level.WARNING
            text = f"no {kind.removesuffix('s')} {name}, for {needed[name]}"
            yield Finding("codecs", level, text, "install PyAV's own wheel: pip install --force-reinstall av")
        there = [name for name in needed if name not in missing]
        if there:
            yield Finding("codecs", Level.OK, f"{kind}: {', '.join(there)}", data={kind: there})


def _has_codec(name: str, mode: Any) -> bool:
    try:
        av.Codec(name, mode)
    except ValueError:  # av.codec.codec.UnknownCodecError
        return False
    return True


WEIGHT_SUFFIXES = (".h5", ".pth", ".pkl", ".safetensors")


def check_weights() -> Iterator[Finding]:
    """The weight files in the program's folders, and which one a run takes."""
    folders = dict.fromkeys((shipped_file("weights"), weights_dir()))
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    for path in paths:
        if path.suffix in WEIGHT_SUFFIXES and path.is_file():
            yield _weight_file(path)
    try:
        choice = find_weights(None)
    except InputError as error:
        yield Finding("weights", Level.PROBLEM, "no weights to run with", str(error))
        return
    yield Finding(
        "weights", Level.OK, f"runs take {choice.path.name} ({choice.reason})", data={"file": str(choice.path)}
    )


def _weight_file(path: Path) -> Finding:
    data: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    try:
        data["sha256"] = sha256_of(path)
        what = "converted when it is first used"
        if path.suffix == ".h5":
            checkpoint = read_checkpoint(path)
            what = f"{checkpoint.config().BACKBONE}, {checkpoint.num_classes} classes"
    except (OSError, WeightsError) as error:
        level = Level.PROBLEM if path.name == SHIPPED_NAME else Level.WARNING
        return Finding("weights", level, f"{path.name} cannot be used: {error}", "get it again, or remove it", data)
    size = f"{data['bytes'] / 1e6:.1f} MB"
    return Finding("weights", Level.OK, f"{path.name}: {what}, {size}, sha256 {data['sha256']}", data=data)


FRAMES = 12
WARM_UP_FRAMES = 2
ENGINES = (
    (EngineKind.AUTO, Precision.AUTO),
    (EngineKind.OPENVINO, Precision.INT8),
    (EngineKind.OPENVINO, Precision.BFLOAT16),
    (EngineKind.OPENVINO, Precision.FLOAT32),
    (EngineKind.ONNX, Precision.AUTO),
    (EngineKind.KERAS, Precision.AUTO),
)
"""Measured one after the other: first what a run takes by itself."""

PACKAGES = {
    EngineKind.OPENVINO: ("openvino",),
    EngineKind.ONNX: ("onnxruntime",),
    EngineKind.KERAS: ("tensorflow", "jax", "torch"),
}
EXTRAS = {EngineKind.ONNX: "onnx", EngineKind.KERAS: "tensorflow"}
"""What adds an engine; openvino is always installed."""


def check_engines(
    measure: Callable[[ModelSettings], tuple[str, float]] | None = None,
    has: Callable[[str], object] = importlib.util.find_spec,
) -> Iterator[Finding]:
    """What `auto` takes, then each engine and precision, with the time of a frame with the shipped model."""
    for engine, precision in ENGINES:
        packages = PACKAGES.get(engine, ())
        if packages and not any(map(has, packages)):
            text = f"{engine.value} is not installed ({' or '.join(packages)})"
            extra = EXTRAS.get(engine)
            yield Finding("engine", Level.OK, f"{text}; to add it: {install_command(extra)}" if extra else text)
            continue
        settings = ModelSettings(
            weights=str(shipped_file(f"weights/{SHIPPED_NAME}")), engine=engine, precision=precision
        )
        name = engine.value if precision is Precision.AUTO else f"{engine.value} in {precision.value}"
        try:
            description, frame_ms = (measure or frame_time)(settings)
        except InputError as error:
            level = Level.PROBLEM if engine is EngineKind.AUTO else Level.OK
            yield Finding("engine", level, f"{name}: {error}")
            continue
        data = {"engine": engine.value, "precision": precision.value, "is": description, "frame_ms": round(frame_ms, 1)}
        text = f"{description}: {frame_ms:.0f} ms a frame"
        yield Finding("engine", Level.OK, f"auto takes {text}" if engine is EngineKind.AUTO else text, data=data)


def frame_time(settings: ModelSettings) -> tuple[str, float]:
    """What an engine is, and its median time for a frame of the sample, in milliseconds.

    Raises:
        InputError: it cannot be made.
    """
    images = sample_frames(SourceSettings(uri=SourceUri(str(shipped_file("samples/people.mp4")))), FRAMES)
    segmenter = MaskRCNNSegmenter.of(settings)
    segmenter.open()
    times_ms = []
    with closing(segmenter):
        for image in [*images[:WARM_UP_FRAMES], *images]:
            began_s = time.perf_counter()
            segmenter.segment_batch([image])
            times_ms.append(1000 * (time.perf_counter() - began_s))
        description = segmenter.description.rpartition("; ")[2]
    return description, statistics.median(times_ms[WARM_UP_FRAMES:])


def check_gpu(machine: Machine | None = None, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether Keras computes on a GPU, and why not."""
    machine = machine or Machine()
    hidden = environment.get("CUDA_VISIBLE_DEVICES", "0")
    if not machine.gpu_is_likely():
        missing = "no NVIDIA driver, or no PyTorch" if sys.platform == "win32" else "no NVIDIA driver"
        reason = f"CUDA_VISIBLE_DEVICES={hidden} hides it" if hidden in ("", "-1") else missing
        yield Finding("gpu", Level.OK, f"not used: {reason}; networks run on the CPU")
        return
    names = _nvidia_names()
    try:
        choice = machine.prepare_keras(Backend.AUTO, Device.AUTO)
    except InputError as error:
        yield Finding("gpu", Level.WARNING, f"{names} is not used: {error}", install_command("gpu"))
        return
    if choice.device is Device.GPU:
        text = f"{choice.device_name}, used by Keras on {choice.backend.value}"
        yield Finding("gpu", Level.OK, text, data={"name": choice.device_name, "backend": choice.backend.value})
    else:
        text = f"{names} is not used: {choice.backend.value} sees no GPU"
        yield Finding("gpu", Level.WARNING, text, f"{install_command('gpu')}, or see docs/gpu.md")


def _nvidia_names() -> str:
    command = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10.0, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "an NVIDIA GPU"
    return "; ".join(done.stdout.splitlines()) or "an NVIDIA GPU"


def check_cache() -> Iterator[Finding]:
    """Where exported networks are kept."""
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.cache import cache_folder, check_persistent

    try:
        model = read_model(ModelSettings())
    except InputError:
        return  # check_weights says so
    folder = cache_folder(model.weights.path, model.config)
    try:
        check_persistent(folder, model.weights.path)
    except EngineError as error:
        yield Finding("cache", Level.WARNING, "exported networks are kept for one run only", str(error))
        return
    for place, what in ((folder.parent, "exported networks"), (user_cache(), "the user's cache")):
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        data = {"folder": str(place), "bytes": size}
        yield Finding("cache", Level.OK, f"{what}: {place}, {size / 1e6:.0f} MB", data=data)


def check_disk(free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> Iterator[Finding]:
    """Room for recordings in the current folder."""
    here, least = Path.cwd(), RecorderSettings().min_free_bytes
    free = free_bytes(here)
    data = {"folder": str(here), "free_bytes": free}
    text = f"{free / 1e9:.1f} GB free in {here}"
    if free < least:
        advice = f"make room: --output needs {least / 1e9:.1f} GB (output.min_free_bytes)"
        yield Finding("disk", Level.PROBLEM, text, advice, data)
    else:
        yield Finding("disk", Level.OK, text, data=data)


CHECKS = (
    Check("system", check_system),
    Check("camera", check_cameras, ANSWER_S + 10.0),
    Check("screen", check_screen),
    Check("codecs", check_codecs),
    Check("weights", check_weights),
    Check("gpu", check_gpu, 120.0),
    Check("engine", check_engines, 120.0),
    Check("cache", check_cache),
    Check("disk", check_disk),
)
