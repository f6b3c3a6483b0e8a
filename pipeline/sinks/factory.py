"""Makes the sinks of a run from its settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container
from pathlib import Path

from pipeline.controls import Controls
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.output_settings import WindowMode
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Sink
from pipeline.sinks.detections import Detections
from pipeline.sinks.images import ENCODING, Images
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.recorder import FORMATS
from pipeline.sinks.screen import screen_available
from pipeline.sinks.segments import make_recorder
from pipeline.sinks.switched_recorder import SwitchedRecorder
from pipeline.sinks.systemd import make_systemd_notifier
from pipeline.sinks.virtual_camera import VirtualCamera
from pipeline.sinks.window import Window
from pipeline.sources.uri import Target, UriKind

log = logging.getLogger(__name__)


def make_sinks(
    settings: Settings,
    source: SourceInfo,
    screen: Callable[[], tuple[bool, str]] = screen_available,
    controls: Controls | None = None,
    alone: bool = True,
) -> list[Sink]:
    """Returns the unopened sinks of a run.

    Args:
        settings: the settings of the run.
        source: the open source: stills are recorded as images, everything else as a video.
        screen: returns whether a window can be opened, and the reason if not.
        controls: switch the recording of a served run on and off.
        alone: whether this is the whole run, and no camera of several: these leave the service manager to the run.

    Raises:
        InputError: a window is required on a machine without a screen.
    """
    outputs = Outputs(Inputs.of_run(settings), settings.output.overwrite)
    sinks: list[Sink] = []
    if _window_wanted(settings.window.mode, screen):
        sinks.append(Window(settings.window, screen=lambda: (True, ""), attract=settings.attract))
    switched = settings.serve.address is not None and source.kind is not SourceKind.STILLS
    if switched and controls is not None:
        record_dir = user_path(settings.serve.record_dir, "serve.record_dir")
        sinks.append(SwitchedRecorder(settings.output, record_dir, controls, outputs))
    elif settings.output.path is not None:
        stills = source.kind is SourceKind.STILLS
        sinks.append(Images(settings.output, outputs) if stills else make_recorder(settings.output, outputs))
    if settings.detections.path is not None:
        events = settings.detections.events or bool(settings.lines or settings.zones)
        detections = settings.detections.model_copy(update={"events": events})
        sinks.append(Detections(detections, outputs, settings.overlay.mask_threshold))
    if settings.virtual_camera.device is not None:
        sinks.append(VirtualCamera(settings.virtual_camera))
    notifier = make_systemd_notifier() if alone else None
    # Closed first, so that it reports the end of the run before the other sinks take their time to finish files.
    return sinks if notifier is None else [notifier, *sinks]


def is_without_sinks(settings: Settings, screen: Callable[[], tuple[bool, str]] = screen_available) -> bool:
    """Whether a run with these settings would show and write nothing. Raises InputError as `make_sinks` does."""
    paths = settings.output.path, settings.detections.path, settings.serve.address, settings.virtual_camera.device
    return all(path is None for path in paths) and not _window_wanted(settings.window.mode, screen)


def with_output_beside(settings: Settings, source: Target) -> Settings:
    """Settings without a window that write clip_segmented.mp4 for clip.mp4, or a folder or file of images likewise.

    The files of live sources are not written.
    """
    path = _path_beside(source)
    output = settings.output.model_copy(update={"path": path})
    window = settings.window.model_copy(update={"mode": WindowMode.OFF})
    return settings.model_copy(update={"output": output, "window": window})


def _path_beside(source: Target) -> str | None:
    if source.kind is UriKind.VIDEO:
        return _segmented(Path(source.location), FORMATS, ".mp4")
    if source.kind is not UriKind.IMAGES:
        return None
    if source.images == (Path(source.location),):
        return _segmented(source.images[0], ENCODING, ".png")
    folder = Path(os.path.commonpath([image.parent for image in source.images]))
    return f"{folder if folder.name else folder.absolute()}_segmented{os.sep}"


def _segmented(path: Path, formats: Container[str], otherwise: str) -> str:
    suffix = path.suffix if path.suffix.lower() in formats else otherwise
    return str(path.with_name(f"{path.stem}_segmented{suffix}"))


def _window_wanted(mode: WindowMode, screen: Callable[[], tuple[bool, str]]) -> bool:
    if mode is WindowMode.OFF:
        return False
    available, reason = screen()
    if available:
        return True
    if mode is WindowMode.ON:
        raise InputError(f"window.mode is on, but no window can be opened: {reason}.")
    log.warning("no screen found (%s), running without a window", reason)
    return False
