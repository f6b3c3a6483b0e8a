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
from pipeline.sinks.cameras_window import CamerasWindow
from pipeline.sinks.detections import Detections
from pipeline.sinks.images import ENCODING, Images
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.recorder import FORMATS
from pipeline.sinks.screen import screen_available
from pipeline.sinks.segments import make_recorder
from pipeline.sinks.switched_recorder import SwitchedRecorder
from pipeline.sinks.systemd import make_systemd_notifier
from pipeline.sinks.toolkit import Desktop
from pipeline.sinks.virtual_camera import VirtualCamera
from pipeline.sinks.window import Window
from pipeline.sources.uri import Target, UriKind

log = logging.getLogger(__name__)


def make_window(
    settings: Settings,
    controls: Controls,
    screen: Callable[[], tuple[bool, str]] = screen_available,
) -> Window | None:
    """Returns the unopened window of a run, if it has one.

    Args:
        settings: the settings of the run.
        controls: what viewers can change.
        screen: returns whether a window can be opened, and the reason if not.

    Raises:
        InputError: a window is required on a machine without a screen.
    """
    if not _window_wanted(settings.window.mode, screen):
        return None
    desktop = Desktop(screen=lambda: (True, ""))
    is_alone = settings.output.path is None and settings.detections.path is None
    return Window(settings.window, controls, settings.attract, desktop, is_alone)


def make_cameras_window(
    settings: Settings,
    controls_of: Callable[[str], Controls | None],
    screen: Callable[[], tuple[bool, str]] = screen_available,
) -> CamerasWindow | None:
    """Returns the unopened window of a run with several cameras, if it has one.

    Args:
        settings: the settings of the run.
        controls_of: what viewers can change of a camera, by its name; None before its first run.
        screen: returns whether a window can be opened, and the reason if not.

    Raises:
        InputError: a window is required on a machine without a screen.
    """
    if not _window_wanted(settings.window.mode, screen):
        return None
    return CamerasWindow(settings.window, controls_of, settings.attract, Desktop(screen=lambda: (True, "")))


def make_sinks(
    settings: Settings,
    source: SourceInfo,
    controls: Controls | None = None,
    window: Window | None = None,
    camera: str | None = None,
) -> list[Sink]:
    """Returns the sinks of a run, unopened.

    Args:
        settings: the settings of the run.
        source: the open source: stills are recorded as images, everything else as a video.
        controls: switch the recording of a run with a window or a page on and off, and of a camera of several.
        window: one of the sinks, if the run has one.
        camera: its name, if it is one of several: these leave the service manager to the run.
    """
    outputs = Outputs(Inputs.of_run(settings), settings.output.overwrite)
    sinks: list[Sink] = [] if window is None else [window]
    has_viewers = settings.serve.address is not None or window is not None or camera is not None
    switched = has_viewers and source.kind is not SourceKind.STILLS
    if switched and controls is not None:
        record_dir = user_path(settings.output.record_dir, "output.record_dir")
        sinks.append(SwitchedRecorder(settings.output, record_dir, controls, camera, outputs))
    elif settings.output.path is not None:
        stills = source.kind is SourceKind.STILLS
        sinks.append(Images(settings.output, outputs) if stills else make_recorder(settings.output, outputs))
    if settings.detections.path is not None:
        events = settings.detections.events or bool(settings.lines or settings.zones)
        detections = settings.detections.model_copy(update={"events": events})
        sinks.append(Detections(detections, outputs, settings.overlay.mask_threshold))
    if settings.virtual_camera.device is not None:
        sinks.append(VirtualCamera(settings.virtual_camera))
    notifier = make_systemd_notifier() if camera is None else None
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
