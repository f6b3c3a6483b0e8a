"""Settings of lines and zones."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic import Field

from pipeline.settings.section import Section


class Anchor(Enum):
    """The point that stands for an object on lines and in zones."""

    BOTTOM = "bottom"
    """The middle of its box's lower edge: where it stands."""
    CENTER = "center"
    """The middle of its box."""


Coordinate = Annotated[float, Field(ge=0.0, le=16384.0, allow_inf_nan=False)]


class PlaceSettings(Section):
    """A line or zone: points (x, y), relative to the frame if none of their numbers is above 1, else in pixels."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    classes: tuple[str, ...] = ()
    anchor: Anchor = Anchor.BOTTOM


class LineSettings(PlaceSettings):
    """A line whose crossings are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=2, max_length=100)]


class ZoneSettings(PlaceSettings):
    """A zone, as a polygon, in which objects and the time that they stay are counted."""

    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=100)]


Place = TypeVar("Place", bound=PlaceSettings)


def named_apart(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """The places unchanged. Raises ValueError if two of them have the same name, which counts and events go by."""
    names = [place.name for place in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the name {twice!r} is given twice")
    return places
