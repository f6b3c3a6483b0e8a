"""Settings of the presentation: which frames are shown, propagated masks, tracking, lines and zones, redaction."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from pipeline.settings.section import LocalPath, Section


class PresentationMode(Enum):
    """Which frames are shown, with which masks."""

    AUTO = "auto"
    """SMOOTH if the policy is live, EXACT if it is recorded."""
    EXACT = "exact"
    """Each inferred frame with the masks that were computed on it."""
    SMOOTH = "smooth"
    """Every captured frame with the newest masks, propagated to it (see `MotionSettings`)."""


class CarryMode(Enum):
    """How masks are propagated to the frames between two results."""

    FLOW = "flow"
    """They follow the optical flow."""
    HOLD = "hold"
    """They stay in place."""


class MotionSettings(Section):
    """Frames that are shown without inference, and the masks on them."""

    carry: CarryMode = CarryMode.FLOW
    infer_every: Annotated[int, Field(ge=1, le=1000)] = 1
    infer_fps: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    flow_width: Annotated[int, Field(ge=64, le=1280)] = 320
    max_age_s: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    blend_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.15
    fade_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.2

    @property
    def infers_all(self) -> bool:
        """Whether every frame is inferred."""
        return self.infer_every == 1 and self.infer_fps is None


class TrackingSettings(Section):
    """Associates objects across frames. Single images are never tracked."""

    enabled: bool = True
    max_lost_s: Annotated[float, Field(ge=0.0, le=60.0)] = 2.0
    hold_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.4
    smoothing: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    confirm_score: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    low_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = 0.4


class Anchor(Enum):
    """The reference point of an object for lines and zones."""

    BOTTOM = "bottom"
    """The center of its box's lower edge: where it touches the ground."""
    CENTER = "center"
    """The center of its box."""


Coordinate = Annotated[float, Field(ge=0.0, le=16384.0, allow_inf_nan=False)]

Points = tuple[tuple[Coordinate, Coordinate], ...]


def _with_length(points: Points) -> Points:
    if len(set(points)) == 1:
        raise ValueError("expected a line between different points")
    return points


def _with_area(points: Points) -> Points:
    (x0, y0), others = points[0], [*points[1:], points[0]]
    far_x, far_y = max(others, key=lambda point: abs(point[0] - x0) + abs(point[1] - y0))
    if all((far_x - x0) * (y - y0) == (far_y - y0) * (x - x0) for x, y in others):
        raise ValueError("expected a polygon with an area")
    return points


class PlaceSettings(Section):
    """A line or zone: points (x, y), relative to the frame if no coordinate is above 1, otherwise in pixels."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    classes: tuple[str, ...] = ()
    anchor: Anchor = Anchor.BOTTOM


class LineSettings(PlaceSettings):
    """A line whose crossings are counted."""

    points: Annotated[Points, Field(min_length=2, max_length=100), AfterValidator(_with_length)]


class ZoneSettings(PlaceSettings):
    """A polygon in which objects and their dwell times are counted."""

    points: Annotated[Points, Field(min_length=3, max_length=100), AfterValidator(_with_area)]


Place = TypeVar("Place", bound=PlaceSettings)


def with_unique_names(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Validates that no name occurs twice."""
    names = [place.name for place in places]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ValueError(f"the name {duplicate!r} is used twice")
    return places


def _check_color(text: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError("expected #rrggbb such as #1f4e79")
    return text


Color = Annotated[str, AfterValidator(_check_color)]
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
