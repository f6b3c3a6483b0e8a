"""Reads settings from YAML and from overrides, with errors that name the key and the line."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from pipeline.errors import InputError
from pipeline.safe_uri import SourceUri, mask_uris, safe_name
from pipeline.settings.camera_settings import ADDRESSES, OF_MODEL, SECTIONS, CameraSettings
from pipeline.settings.messages import SECRETS, KeyPath
from pipeline.settings.output_settings import SWITCHES
from pipeline.settings.schema import Settings


class _Loader(yaml.SafeLoader):
    """YAML whose only booleans are true and false: `window: {mode: off}` means the word "off"."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


_IN_VALUES = (ValueError, TypeError, OverflowError, AttributeError, RecursionError)
"""What PyYAML raises besides its own errors, for values such as `!!int x` and for thousands of brackets."""
MOST_KEYS = 100_000
"""Aliases of aliases become more than that with few bytes; the largest file of ours has some hundred."""


def load_settings(
    path: str | Path | None = None, overrides: Mapping[KeyPath, tuple[str, Any]] | None = None
) -> Settings:
    """Settings from the defaults, a YAML file and overrides, the later ones winning.

    Args:
        path: a YAML file with any part of the settings; None for the defaults alone.
        overrides: by key path ("source", "uri"), where the value comes from (`--source`, for errors) and
            the value.

    Raises:
        InputError: the file cannot be read, is no YAML, or a key or value in it or in the overrides is wrong.
    """
    path = None if path is None else Path(path)
    values, lines = _read_yaml(path) if path is not None else ({}, {})
    overrides = overrides or {}
    for key_path, (origin, value) in overrides.items():
        _put(values, key_path, value, origin)
        variable = (*key_path[:-1], f"{key_path[-1]}_env")
        if key_path in SECRETS and variable not in overrides:
            _put(values, variable, None, origin)
    origins = {key_path: origin for key_path, (origin, _) in overrides.items()}

    def where(location: KeyPath) -> str:
        for length in range(len(location), 0, -1):
            part = location[:length]
            if part in origins:
                return f"{origins[part]}: "
            if part in lines:
                return f"{path}:{lines[part]}: "
        return ""

    return Settings.model_validate(values, context=where).with_origin(path)


def preset_overrides(name: str, file: Path | None = None) -> dict[KeyPath, tuple[str, Any]]:
    """What a shipped preset sets, as overrides; without what a settings file says itself.

    Args:
        name: of the preset; "kiosk" is the one there is.
        file: the settings file that the user gave; what is in it lies over the preset.

    Raises:
        InputError: the settings file cannot be read.
    """
    values, _ = _read_yaml(Path(__file__).parent / "presets" / f"{name}.yaml")
    given = set(_read_yaml(file)[1]) if file is not None else set()
    return {key: (f"--{name}", value) for key, value in _leaves(values, ()) if key not in given}


def _leaves(values: Mapping[str, Any], prefix: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def dump_settings(settings: Settings, encoding: str = "utf-8") -> str:
    """The settings as YAML that `load_settings` reads back, without secrets.

    A secret is replaced by the name of an environment variable that has to hold it when the settings are read. Switches
    of the overlay that are as its look has them are null, so that another look may be laid over the settings.

    Args:
        settings: all of them.
        encoding: in which the text will be written; in another than UTF-8 it is ASCII with escapes.
    """
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    values = settings.model_dump(mode="json")
    for (section, key), variable in SECRETS.items():
        _name_variable(values[section], key, getattr(getattr(settings, section), key), variable)
    values["overlay"] = _overlay_values(settings)
    values["cameras"] = [_camera_values(settings, number) for number in range(len(settings.cameras))]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=is_utf8)


def _overlay_values(settings: Settings) -> dict[str, Any]:
    """The overlay, with null for each switch that look, privacy and background set anyway."""
    effects = {"privacy": settings.privacy, "background": settings.background}
    values = settings.overlay.model_dump(mode="json")
    for name in SWITCHES:
        shorter = values | {name: None}
        if Settings.model_validate({**effects, "overlay": shorter}).overlay == settings.overlay:
            values = shorter
    return values


def _name_variable(values: dict[str, Any], key: str, value: SourceUri | SecretStr | None, variable: str) -> None:
    """Puts the name of a variable in place of a secret."""
    is_secret = value.is_secret if isinstance(value, SourceUri) else value is not None
    if values[f"{key}_env"] is None and is_secret:
        values[f"{key}_env"] = variable
    if values[f"{key}_env"] is not None:
        del values[key]


def _camera_values(settings: Settings, index: int) -> dict[str, Any]:
    """A camera's entry: its own keys, and each section that differs from the run's, whole."""
    camera = settings.cameras[index]
    values = camera.model_dump(mode="json", include=set(CameraSettings.model_fields))
    for key in ("uri", "detect_uri"):
        _name_variable(values, key, getattr(camera, key), f"{SECRETS['source', key]}_{index + 1}")
    both = settings.of_camera(camera), settings
    own, shared = (each.model_dump(mode="json") | {"overlay": _overlay_values(each)} for each in both)
    for name in sorted(SECTIONS):
        section, below = own[name], shared[name]
        if name == "source":
            section, below = ({key: each[key] for key in each if key not in ADDRESSES} for each in (section, below))
        elif name == "model":
            section, below = ({key: each[key] for key in sorted(OF_MODEL)} for each in (section, below))
        if section != below:
            values[name] = section
    return values


def parse_assignment(text: str) -> tuple[KeyPath, Any]:
    """`overlay.mask_alpha=0.3` as a key path and a YAML value. Raises InputError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set needs KEY=VALUE such as overlay.mask_alpha=0.3, got {safe_name(mask_uris(text))!r}")
    try:
        return tuple(key.strip().split(".")), yaml.load(value, _Loader)
    except (yaml.YAMLError, *_IN_VALUES):
        raise InputError(f"--set {safe_name(mask_uris(key))}: the value is not valid YAML; quote it") from None


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the settings file {path}: {reason}") from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        lines = dict(itertools.islice(_key_lines(node, (), path), MOST_KEYS + 1))
        if len(lines) > MOST_KEYS:
            raise InputError(f"{path} has more than {MOST_KEYS:,} keys: it is no settings file")
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # without the names of tags and aliases, which may be the beginning of an unquoted secret
        what = re.sub(r"'[^'<][^']+'", "…", error.problem or error.context or "")
        raise InputError(f"{path}:{line}: not valid YAML: {what}") from None
    except yaml.YAMLError:
        raise InputError(f"{path}: not valid YAML: it contains a character that YAML does not allow") from None
    except _IN_VALUES:
        raise InputError(f"{path}: not valid YAML: a number or date is none, or it is nested too deeply") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}:1: expected settings such as 'source: {{uri: 0}}', got a {type(values).__name__}")
    return values, lines


def _key_lines(
    node: yaml.Node, prefix: KeyPath, path: Path, around: tuple[yaml.Node, ...] = ()
) -> Iterator[tuple[KeyPath, int]]:
    if node in around:
        raise InputError(f"{path}:{node.start_mark.line + 1}: {'.'.join(prefix)} contains itself")
    around = (*around, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*prefix, str(index)), item.start_mark.line + 1
            yield from _key_lines(item, (*prefix, str(index)), path, around)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in seen:
            raise InputError(f"{path}:{line}: {'.'.join((*prefix, key))} is given twice")
        seen.add(key)
        yield (*prefix, key), line
        yield from _key_lines(value_node, (*prefix, key), path, around)


def _put(values: dict[str, Any], key_path: KeyPath, value: Any, origin: str) -> None:
    section = values
    for key in key_path[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise InputError(f"{origin}: {key} is not a group of settings")
    section[key_path[-1]] = value
