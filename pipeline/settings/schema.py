"""All settings of a run: frozen pydantic models with types, defaults, units and ranges.

`config.yaml` mirrors the defaults; `loading.py` reads YAML and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PrivateAttr, model_validator

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
    """The file that settings were read from. All origins are equal: settings are compared by their values."""

    file: Path | None = field(default=None, compare=False)


class Settings(Section):
    """All settings of a run."""

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
    _origin: _Origin = PrivateAttr(default=_Origin())

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

    @property
    def loaded_from(self) -> Path | None:
        """The file that these settings were read from, if any."""
        return self._origin.file

    def with_origin(self, file: Path | None) -> Settings:
        """A copy that was read from `file`."""
        copy = self.model_copy()
        copy._origin = _Origin(file)
        return copy
