"""Paths that a user wrote, and names of files in every locale."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.errors import InputError


def user_path(text: str, setting: str) -> Path:
    """The path that a user wrote, with ~ replaced by the home folder.

    Args:
        text: the path.
        setting: what the user calls it ("--weights").

    Raises:
        InputError: there is no such home folder, or no file can have the name; the text names the setting.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{setting} {text}: there is no such user's home folder; write the path in full") from None
    check_name(path, setting)
    return path


def check_name(path: Path, setting: str) -> None:
    """Raises InputError, which names the setting, if the locale's encoding of file names cannot hold the path."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{setting} {path}: file names are {error.encoding} in this locale, which has no "
            f"{error.object[error.start : error.end]!r}; set PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8)"
        ) from None


def utf8_name(name: str) -> str:
    """The name of a file as Python would give it in a UTF-8 locale: the same text in every locale.

    Python keeps those bytes of a name that the locale's encoding cannot read as lone surrogates; without a locale these
    are all letters besides ASCII.

    Args:
        name: of a file, as Python gives it.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", sys.getfilesystemencodeerrors())
    return name
