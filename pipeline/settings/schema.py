"""All settings of a run: frozen pydantic models with types, defaults, units and ranges.

`config.yaml` mirrors the defaults; `loading.py` reads YAML and the command line.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from pipeline.settings.display_settings import AttractSettings, OverlaySettings, SlateSettings, WindowSettings
from pipeline.settings.model_settings import ModelSettings, SupervisionSettings
from pipeline.settings.output_settings import (
    DetectionsSettings,
    ProgressMode,
    RecorderSettings,
    ServeSettings,
    VirtualCameraSettings,
)
from pipeline.settings.place_settings import LineSettings, ZoneSettings, with_unique_names
from pipeline.settings.presentation_settings import MotionSettings, PresentationMode, TrackingSettings
from pipeline.settings.privacy_settings import BackgroundSettings, PrivacySettings
from pipeline.settings.section import Section
from pipeline.settings.source_settings import SourceSettings


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
