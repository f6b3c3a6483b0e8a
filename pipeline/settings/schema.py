"""All settings of a run: frozen pydantic models with types, defaults, units and ranges.

`config.yaml` mirrors the defaults; `loading.py` reads YAML and the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from pipeline.errors import InputError
from pipeline.settings.camera_settings import CameraSettings, values_of_camera, with_unique_cameras
from pipeline.settings.messages import KeyPath, describe
from pipeline.settings.model_settings import ModelSettings, SupervisionSettings
from pipeline.settings.output_settings import (
    AttractSettings,
    DetectionsSettings,
    Look,
    OverlaySettings,
    ProgressMode,
    RecorderSettings,
    ServeSettings,
    SlateSettings,
    VirtualCameraSettings,
    WindowSettings,
)
from pipeline.settings.presentation_settings import (
    BackgroundSettings,
    LineSettings,
    MotionSettings,
    PresentationMode,
    PrivacySettings,
    TrackingSettings,
    ZoneSettings,
    with_unique_names,
)
from pipeline.settings.section import Section
from pipeline.settings.source_settings import SourceSettings


def _mode(section: Any) -> str:
    """The mode of a section that may not have been validated yet."""
    mode = section.get("mode") if isinstance(section, dict) else getattr(section, "mode", None)
    return str(getattr(mode, "value", mode or "off"))


@dataclass(frozen=True, slots=True)
class _Origin:
    """What settings come from: file, and values as given. All are equal: settings are compared by their values."""

    file: Path | None = field(default=None, compare=False)
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def _within(where: Callable[[KeyPath], str], group: KeyPath, location: KeyPath) -> str:
    """The place of a key of a group."""
    return where((*group, *location))


class Settings(Section):
    """All settings of a run. What is wrong with them raises InputError."""

    source: SourceSettings = SourceSettings()
    model: ModelSettings = ModelSettings()
    presentation: PresentationMode = PresentationMode.AUTO
    motion: MotionSettings = MotionSettings()
    tracking: TrackingSettings = TrackingSettings()
    lines: Annotated[tuple[LineSettings, ...], AfterValidator(with_unique_names)] = ()
    zones: Annotated[tuple[ZoneSettings, ...], AfterValidator(with_unique_names)] = ()
    privacy: PrivacySettings = PrivacySettings()
    background: BackgroundSettings = BackgroundSettings()
    overlay: OverlaySettings = OverlaySettings()
    output: RecorderSettings = RecorderSettings()
    detections: DetectionsSettings = DetectionsSettings()
    window: WindowSettings = WindowSettings()
    virtual_camera: VirtualCameraSettings = VirtualCameraSettings()
    slate: SlateSettings = SlateSettings()
    attract: AttractSettings = AttractSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    serve: ServeSettings = ServeSettings()
    progress: ProgressMode = ProgressMode.AUTO
    cameras: Annotated[tuple[CameraSettings, ...], AfterValidator(with_unique_cameras)] = ()
    _origin: _Origin = PrivateAttr(default=_Origin())

    @model_validator(mode="wrap")
    @classmethod
    def _with_clear_errors(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """The context of a validation, if it has one, gives the place of a key: see `describe`."""
        where = info.context or (lambda _: "")
        try:
            settings = handler(values)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise InputError("; ".join(describe(detail, cls, where) for detail in details)) from None
        if isinstance(values, Mapping):
            settings._origin = _Origin(given=dict(values))
        if settings.cameras:
            settings._check_cameras(where)
        return settings

    @model_validator(mode="before")
    @classmethod
    def _look_of_effects(cls, values: Any) -> Any:
        """Where background or privacy change the picture, nothing lies over it unless a look is named; and `call`."""
        if not isinstance(values, dict):
            return values
        overlay, background = values.get("overlay") or {}, values.get("background") or {}
        if not isinstance(overlay, dict):
            return values
        effects = [_mode(background), _mode(values.get("privacy") or {})]
        look = overlay.get("look")
        if look in ("call", Look.CALL) and isinstance(background, dict) and effects[0] == "off":
            return values | {"background": background | {"mode": "blur"}}
        if effects != ["off", "off"] and look in (None, "clean", Look.CLEAN):
            given = {key: value for key, value in overlay.items() if value is not None}
            return values | {"overlay": {"masks": False, "boxes": False, **given, "look": Look.CLEAN}}
        return values

    def of_camera(self, camera: CameraSettings, where: Callable[[KeyPath], str] = lambda _: "") -> Settings:
        """The settings of one camera: its own laid over the run's.

        Args:
            camera: one of `cameras`, or one that comes to them.
            where: see `describe`, for keys of the camera.

        Raises:
            InputError: they are wrong.
        """
        values = values_of_camera(self._origin.given, camera)

        def place(location: KeyPath) -> str:
            return f"{where(location)}camera {camera.name}: "

        return Settings.model_validate(values, context=place).with_origin(self.loaded_from)

    def with_cameras(self, cameras: Sequence[CameraSettings | Mapping[str, Any]]) -> Settings:
        """The settings of the same run with these cameras. Raises InputError if one of them is wrong."""
        values = {**self._origin.given, "cameras": list(cameras)}
        return Settings.model_validate(values).with_origin(self.loaded_from)

    def _check_cameras(self, where: Callable[[KeyPath], str]) -> None:
        """Raises InputError if a camera's settings are wrong, or two cameras write to the same file."""
        if self.source.realtime:
            raise InputError(
                f"{where(('source', 'realtime'))}source.realtime is a setting of one source: with several cameras, set "
                "it in the entry of each that it is meant for"
            )
        writers: dict[tuple[str, str], str] = {}
        for index, camera in enumerate(self.cameras):
            own = self.of_camera(camera, partial(_within, where, ("cameras", str(index))))
            for key, path in (("output.path", own.output.path), ("detections.path", own.detections.path)):
                other = writers.setdefault((key, path), camera.name) if path not in (None, "-") else camera.name
                if other != camera.name:
                    raise InputError(
                        f"{key} of the cameras {other} and {camera.name} is the same, {path}: put {{camera}} into it, "
                        "which stands for the name"
                    )

    @property
    def loaded_from(self) -> Path | None:
        """The file that these settings were read from, if any."""
        return self._origin.file

    def with_origin(self, file: Path | None) -> Settings:
        """A copy that was read from `file`."""
        copy = self.model_copy()
        copy._origin = _Origin(file, self._origin.given)
        return copy
