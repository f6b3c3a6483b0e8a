"""Settings of the overlay, the window, the slate and the attract screen."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field

from pipeline.settings.section import LocalPath, Section


class WindowMode(Enum):
    """When to open a window."""

    AUTO = "auto"
    """Open one if the machine has a screen."""
    ON = "on"
    """Open one, or fail without a screen."""
    OFF = "off"


class ColorBy(Enum):
    """What determines the color of an object."""

    CLASS = "class"
    TRACK = "track"
    """Its track id; objects without one have the color of their class."""


class OverlaySettings(Section):
    """What to draw on a frame."""

    masks: bool = True
    boxes: bool = True
    labels: bool = True
    scores: bool = True
    status: bool = True
    ids: bool = False
    counts: bool = True
    places: bool = True
    color_by: ColorBy = ColorBy.CLASS
    mask_alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    mask_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    line_width: Annotated[int, Field(ge=1, le=64)] | None = None
    font_scale: Annotated[float, Field(gt=0.0, le=20.0)] | None = None


class WindowSettings(Section):
    """The window on this machine's screen."""

    mode: WindowMode = WindowMode.AUTO
    fullscreen: bool = False
    monitor: Annotated[int, Field(ge=0, le=63)] | None = None
    cursor: bool = True
    title: str = "stream_segment"
    stills_dir: LocalPath = "."


class SlateSettings(Section):
    """The messages shown while there is no picture. `source` None shows the program's own message."""

    source: str | None = None
    loading: str = "loading the model"
    restarting: str = "starting the model again"


class AttractSettings(Section):
    """What the window shows after nobody was seen for a while."""

    after_s: Annotated[float, Field(gt=0.0, le=86400.0)] | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("person",)
    text: str = "Come closer!"
    picture: LocalPath | None = None
