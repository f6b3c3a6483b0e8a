"""The entries of `cameras`: what each camera of a run with several has of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import InputError
from pipeline.safe_uri import SourceUri
from pipeline.settings.section import Section, VariableName, with_variables

PLACEHOLDER = "{camera}"
"""Stands for a camera's name in the paths of outputs."""
NAME_PATTERN = r"^\w[\w.-]{0,63}$"
"""A name that is a part of file names, addresses and metrics on every system."""
PATHS = (("output", "path"), ("detections", "path"), ("output", "record_dir"), ("window", "stills_dir"))
"""Where PLACEHOLDER counts."""

SECTIONS = frozenset(
    "source model presentation motion tracking lines zones privacy background overlay output detections virtual_camera "
    "slate".split()
)
"""The sections that may differ between cameras."""
ADDRESSES = ("uri", "uri_env", "detect_uri", "detect_uri_env")
"""The keys of `source` that stand in the entry itself."""
OF_MODEL = frozenset(("classes", "min_score", "max_instances"))
"""The keys of `model` that may differ: what is kept of what the network reports."""


def _usable_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError("expected a name of letters, digits, dots, dashes and underscores, such as hall or gate-2")
    return name


CameraName = Annotated[str, AfterValidator(_usable_name)]
Weight = Annotated[float, Field(ge=0.01, le=100.0)]


class CameraSettings(Section):
    """One camera of several: its name, source and share; other keys are sections that lie over the run's.

    Attributes:
        weight: its share of the network beside the others'.
    """

    model_config = ConfigDict(extra="allow")

    name: CameraName
    uri: SourceUri
    uri_env: VariableName | None = None
    detect_uri: SourceUri | None = None
    detect_uri_env: VariableName | None = None
    enabled: bool = True
    weight: Weight = 1.0

    @model_validator(mode="before")
    @classmethod
    def _uri_from_environment(cls, values: Any) -> Any:
        return with_variables(with_variables(values, "uri"), "detect_uri")

    @property
    def addresses(self) -> Mapping[str, SourceUri | str]:
        """Its addresses as the entry gives them: under `uri`, or under `uri_env` the name of a variable."""
        given = self.model_dump(include=set(ADDRESSES))
        return {key: value for key, value in given.items() if value is not None and given.get(f"{key}_env") is None}

    @property
    def sections(self) -> Mapping[str, Any]:
        """What the entry says besides its own keys, as it was given: sections of the settings."""
        return self.model_extra or {}


def with_unique_cameras(cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
    """The cameras. Raises ValueError if the names of two are the same, or differ only in case, as files may not."""
    seen: set[str] = set()
    for camera in cameras:
        if camera.name.casefold() in seen:
            raise ValueError(f"two are named {camera.name}: each needs a name of its own")
        seen.add(camera.name.casefold())
    return cameras


def values_of_camera(values: Mapping[str, Any], camera: CameraSettings) -> dict[str, Any]:
    """The run's settings with a camera's laid over them, as `Settings` takes them; without `cameras`.

    Args:
        values: those of the run as they were given, not validated.
        camera: whose sections win, key by key.

    Raises:
        InputError: the camera sets what all cameras share.
    """
    _check_sections(camera)
    merged = laid_over({key: value for key, value in values.items() if key != "cameras"}, camera.sections)
    if not isinstance(merged.get("source"), Mapping | BaseModel | None):
        return merged  # the field says what is wrong
    source = {
        **_plain(merged.get("source")),
        **dict.fromkeys(ADDRESSES),
        "uri": camera.uri,
        "detect_uri": camera.detect_uri,
    }
    return _with_name(merged | {"source": source}, camera.name)


def _check_sections(camera: CameraSettings) -> None:
    for section, given in camera.sections.items():
        if section in ("window", "attract", "serve", "supervision", "progress", "cameras"):
            raise InputError(f"camera {camera.name}: {section} is a setting of the whole run, not of one camera")
        keys = given if isinstance(given, Mapping) else {}
        for key in ADDRESSES if section == "source" else ():
            if key in keys:
                raise InputError(f"camera {camera.name}: source.{key} stands beside the name, as {key}")
        shared = sorted(map(str, keys.keys() - OF_MODEL)) if section == "model" else []
        if shared:
            raise InputError(
                f"camera {camera.name}: model.{shared[0]} is a setting of the network, which all cameras share: set it "
                f"for the whole run; a camera may have its own {', '.join(sorted(OF_MODEL))}"
            )


def laid_over(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others laid over them, key by key; lists are replaced whole."""
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping | BaseModel):
            value = laid_over(_plain(below), value)
        merged[key] = value
    return merged


def _plain(section: Any) -> dict[str, Any]:
    """A section that may be a mapping, a model, or not given."""
    return section.model_dump(exclude_unset=True) if isinstance(section, BaseModel) else dict(section or {})


def _with_name(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The values with the camera's name in the paths of its outputs."""
    for section, key in PATHS:
        held = _plain(values.get(section)) if isinstance(values.get(section), Mapping | BaseModel) else {}
        if isinstance(held.get(key), str):
            values = values | {section: held | {key: held[key].replace(PLACEHOLDER, name)}}
    return values


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with -2, -3 … after those that another one before has already."""
    taken: set[str] = set()
    unique = []
    for name in names:
        number, new = 1, name
        while new.casefold() in taken:
            number += 1
            new = f"{name}-{number}"
        taken.add(new.casefold())
        unique.append(new)
    return unique
