"""Settings of redaction and background replacement."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from pipeline.settings.section import LocalPath, Section

Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
"""Red, green and blue in hexadecimal, as in CSS: #rrggbb."""


class PrivacyMode(Enum):
    """How people are redacted before anything is shown, recorded or served."""

    OFF = "off"
    BLUR = "blur"
    PIXELATE = "pixelate"
    SILHOUETTE = "silhouette"
    """Filled with one color."""


class PrivacySettings(Section):
    """What to redact. Whenever that is uncertain, the whole frame is covered."""

    mode: PrivacyMode = PrivacyMode.OFF
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("person",)
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    spread: Annotated[float, Field(ge=0.0, le=10.0)] = 0.25
    hold_s: Annotated[float, Field(ge=0.0, le=60.0)] = 1.0
    late_after_s: Annotated[float, Field(ge=0.05, le=60.0)] = 2.0
    cover_changes: bool = True
    cells: Annotated[int, Field(ge=2, le=64)] = 14
    color: Color = "#404040"

    @property
    def on(self) -> bool:
        """Whether anything is redacted."""
        return self.mode is not PrivacyMode.OFF


class BackgroundMode(Enum):
    """What replaces everything except the selected objects."""

    OFF = "off"
    BLUR = "blur"
    COLOR = "color"
    PICTURE = "picture"


class BackgroundSettings(Section):
    """The replacement of the background."""

    mode: BackgroundMode = BackgroundMode.OFF
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("person",)
    cells: Annotated[int, Field(ge=2, le=256)] = 40
    color: Color = "#1f4e79"
    picture: LocalPath | None = None
    edge: Annotated[float, Field(ge=0.0, le=0.2)] = 0.008
