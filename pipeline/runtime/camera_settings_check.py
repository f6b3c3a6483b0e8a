"""What the settings of several cameras must be together, and those of each camera's stream."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.settings.camera_settings import CameraSettings
from pipeline.settings.model_settings import SupervisionSettings
from pipeline.settings.output_settings import WindowMode
from pipeline.settings.schema import Settings
from pipeline.sinks.detections import STDOUT
from pipeline.sinks.paths import Inputs, check_output_file
from pipeline.sources.uri import UriKind, parse_uri


def check_run(settings: Settings) -> None:
    """Raises InputError if there is nothing to run, or the run asks for what several cameras do not have."""
    if not any(camera.enabled for camera in settings.cameras):
        what = "all cameras are disabled" if settings.cameras else "there are no cameras"
        raise InputError(f"{what}: name at least one in `cameras`, with enabled: true")


def settings_of(settings: Settings, camera: CameraSettings) -> Settings:
    """The settings of a camera's stream: what all share is the run's, and a camera may come later."""
    own = settings.of_camera(camera)
    reconnect = own.source.reconnect.model_copy(update={"at_start": True})
    changes = {
        "source": own.source.model_copy(update={"reconnect": reconnect}),
        "window": own.window.model_copy(update={"mode": WindowMode.OFF}),
        "supervision": SupervisionSettings(),
    }
    return own.model_copy(update=changes)


def check_outputs(own: Mapping[str, Settings]) -> None:
    """Raises InputError if one camera would write to a file that another one reads, or writes under another path."""
    writers: dict[str, str] = {}
    inputs = {name: Inputs.of_run(settings) for name, settings in own.items()}
    for name, settings in own.items():
        for path in (settings.output.path, settings.detections.path):
            if path is None or path == STDOUT:
                continue
            reader = next((other for other in own if user_path(path, f"camera {name}") in inputs[other]), None)
            if reader is not None:
                raise InputError(f"camera {name} would write to {path}, which camera {reader} reads: give another name")
            writer = writers.setdefault(os.path.realpath(user_path(path, f"camera {name}")), name)
            if writer != name:
                raise InputError(f"camera {name} would write to {path}, as camera {writer} does: give another name")


def check_folders(settings: Settings) -> None:
    """Raises InputError if there is no folder for a camera's files: its source may open hours later."""
    reads_images = parse_uri(settings.source.uri.reveal()).kind is UriKind.IMAGES  # which makes its folder itself
    outputs = (("--output", None if reads_images else settings.output.path), ("--detections", settings.detections.path))
    for option, path in outputs:
        if path is not None and path != STDOUT:
            check_output_file(user_path(path, option), option, Inputs())
