"""Settings of lines and zones."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import Field

from pipeline.settings.section import Section


class Anchor(Enum):
    """The reference point of an object for lines and zones."""

    BOTTOM = "bottom"
    """The center of its box's lower edge: where it touches the ground."""
    CENTER = "center"
    """The center of its box."""


Coordinate = Annotated[float, Field(ge=0.0, le=16384.0, allow_inf_nan=False)]


class PlaceSettings(Section):
    """A line or zone: points (x, y), relative to the frame if no coordinate is above 1, otherwise in pixels."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    classes: tuple[str, ...] = ()
    anchor: Anchor = Anchor.BOTTOM


class LineSettings(PlaceSettings):
    """A line whose crossings are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=2, max_length=100)]


class ZoneSettings(PlaceSettings):
    """A polygon in which objects and their dwell times are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=100)]


Place = TypeVar("Place", bound=PlaceSettings)


def with_unique_names(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Validates that no name occurs twice."""
    names = [place.name for place in places]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ValueError(f"the name {duplicate!r} is used twice")
    return places
