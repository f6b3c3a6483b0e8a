"""Makes the sinks of a run from its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.controls import Controls
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.output_settings import WindowMode
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Sink
from pipeline.sinks.detections import Detections
from pipeline.sinks.images import Images
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.screen import screen_available
from pipeline.sinks.segments import make_recorder
from pipeline.sinks.switched_recorder import SwitchedRecorder
from pipeline.sinks.systemd import make_systemd_notifier
from pipeline.sinks.virtual_camera import VirtualCamera
from pipeline.sinks.window import Window

log = logging.getLogger(__name__)


def make_sinks(
    settings: Settings,
    source: SourceInfo,
    screen: Callable[[], tuple[bool, str]] = screen_available,
    controls: Controls | None = None,
) -> list[Sink]:
    """Returns the unopened sinks of a run.

    Args:
        settings: the settings of the run.
        source: the open source: stills are recorded as images, everything else as a video.
        screen: returns whether a window can be opened, and the reason if not.
        controls: switch the recording of a served run on and off.

    Raises:
        InputError: a window is required on a machine without a screen.
    """
    outputs = Outputs(Inputs.of_run(settings), settings.output.overwrite)
    sinks: list[Sink] = []
    if settings.window.mode is not WindowMode.OFF:
        available, reason = screen()
        if available:
            sinks.append(Window(settings.window, screen=lambda: (True, ""), attract=settings.attract))
        elif settings.window.mode is WindowMode.ON:
            raise InputError(f"window.mode is on, but no window can be opened: {reason}.")
        else:
            log.warning("no screen found (%s), running without a window", reason)
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
    notifier = make_systemd_notifier()
    # Closed first, so that it reports the end of the run before the other sinks take their time to finish files.
    return sinks if notifier is None else [notifier, *sinks]
