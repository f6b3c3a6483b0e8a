"""Turns pydantic's errors into one line each: which setting, what was expected, what came."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipeline.labels import plural
from pipeline.safe_uri import mask_uris, safe_name

KeyPath = tuple[str, ...]

SECRETS: Mapping[KeyPath, str] = {
    ("source", "uri"): "STREAM_SEGMENT_SOURCE",
    ("source", "detect_uri"): "STREAM_SEGMENT_DETECT_SOURCE",
    ("serve", "token"): "STREAM_SEGMENT_TOKEN",
}
"""The settings that may hold a secret, and the environment variable that stands for it where settings are printed."""

_HELD_BACK = frozenset((*SECRETS, ("cameras", "uri"), ("cameras", "detect_uri")))
"""Settings whose values no message shows."""

_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bool": lambda _: "true or false",
    "int": lambda _: "a whole number",
    "float": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "tuple": lambda _: "a list such as [a, b]",
    "enum": lambda limits: limits["expected"],
    "literal": lambda limits: limits["expected"],
    "greater_than_equal": lambda limits: f"at least {limits['ge']:g}",
    "greater_than": lambda limits: f"more than {limits['gt']:g}",
    "less_than_equal": lambda limits: f"at most {limits['le']:g}",
    "less_than": lambda limits: f"less than {limits['lt']:g}",
    "multiple_of": lambda limits: f"a multiple of {limits['multiple_of']:g}",
    "string_too_short": lambda limits: f"at least {plural(limits['min_length'], 'character')}",
    "string_too_long": lambda limits: f"at most {plural(limits['max_length'], 'character')}",
    "too_short": lambda limits: f"at least {plural(limits['min_length'], _counted(limits))}",
    "too_long": lambda limits: f"at most {plural(limits['max_length'], _counted(limits))}",
}
"""What was expected, by the type of an error or its first word, from the error's context."""


def _counted(limits: Mapping[str, Any]) -> str:
    """What a length counts: of a tuple values, of a secret characters."""
    return "value" if limits["field_type"] == "Tuple" else "character"


def reason(detail: ErrorDetails) -> str:
    """What is wrong with a value, without the value: "expected at least 1"."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    expected = _EXPECTED.get(kind) or _EXPECTED.get(kind.partition("_")[0])
    return f"expected {expected(context)}" if expected else detail["msg"][0].lower() + detail["msg"][1:]


def describe(detail: ErrorDetails, settings: type[BaseModel], where: Callable[[KeyPath], str]) -> str:
    """One line on one mistake.

    Args:
        detail: pydantic's account of it.
        settings: the class of all settings, for what else there is.
        where: gives the place of a key, such as "mine.yaml:3: "; "" where it is not known.
    """
    location = tuple(str(part) for part in detail["loc"])
    if detail["type"] == "missing_variable":
        location = (*location, f"{detail['ctx']['key']}_env")
    place = where(location)
    key = mask_uris(".".join(location))
    if detail["type"] == "extra_forbidden":
        return f"{place}unknown setting {key}{_suggest(location, settings)}"
    if detail["type"] == "missing":
        return f"{place}{key} is missing"
    if detail["type"] == "model_type":
        shown = _shown(location, detail["input"])
        if not location:  # all of them; a file is read by load_settings
            return f"expected settings, or a dictionary of them, got {shown}"
        return f"{place}{key} is a group of settings, got {shown}"
    if detail["type"] == "missing_variable":
        return f"{place}{key}: {reason(detail)}: set it, or remove this setting"
    if detail["type"] == "value_error" and location == ("cameras",):
        return f"{place}{key}: {reason(detail)}"  # which names the cameras; what came may hold passwords
    return f"{place}{key}: {reason(detail)}, got {_shown(location, detail['input'])}"


def _shown(location: KeyPath, value: Any) -> str:
    """A rejected value, unless it may be a secret."""
    location = tuple(part for part in location if not part.isdecimal())  # the number of an item in a list
    if location in _HELD_BACK:
        return f"{len(value)} characters" if isinstance(value, str) else f"a value of type {type(value).__name__}"
    if any(location == key[: len(location)] for key in _HELD_BACK):
        return f"a value of type {type(value).__name__}"
    plain = value.value if isinstance(value, Enum) else value
    return repr(safe_name(plain)) if isinstance(plain, str) else mask_uris(repr(plain))


def _suggest(location: KeyPath, settings: type[BaseModel]) -> str:
    section: Any = settings
    for part in location[:-1]:
        if not part.isdecimal():  # the number of an item in a list
            held = section.model_fields[part].annotation
            section = held if isinstance(held, type) else get_args(held)[0]
    near = difflib.get_close_matches(location[-1], section.model_fields, n=1)
    if near:
        return f"; did you mean {'.'.join((*location[:-1], near[0]))}?"
    return f"; the settings there are {', '.join(section.model_fields)}"
