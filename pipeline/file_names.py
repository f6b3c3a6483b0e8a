"""Paths given by users, and file names independent of the locale."""

from __future__ import annotations

import errno
import os
import sys
import unicodedata
from pathlib import Path

from pipeline.errors import InputError
from pipeline.safe_uri import refuse_address, safe_name


def user_path(text: str | None, setting: str) -> Path:
    """Converts a path given by the user, expanding ~.

    Args:
        text: the path.
        setting: the option or setting it was given with ("--weights"), for messages.

    Raises:
        ValueError: there is none.
        InputError: it is empty or an address, the home folder does not exist, or the locale cannot encode the path.
    """
    if text is None:
        raise ValueError(f"{setting} needs a path")
    if not text:
        raise InputError(f"{setting} is empty: expected a path")
    try:
        path = Path(refuse_address(text)).expanduser()
    except ValueError as error:
        raise InputError(f"{setting} {safe_name(text)}: {error}") from None
    except RuntimeError:
        raise InputError(f"{setting} {safe_name(text)}: this user has no home folder; write out the path") from None
    check_name(path, setting)
    return path


def check_name(path: Path, setting: str) -> None:
    """Raises InputError for what can name no file: too long, with a NUL, or with characters that the locale lacks."""
    if "\0" in str(path):
        raise InputError(f"{setting} {safe_name(str(path))}: a path cannot hold a NUL character")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{setting} {safe_name(str(path))}: file names are {error.encoding} in this locale, which cannot represent "
            f"{error.object[error.start : error.end]!r}; set PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8)"
        ) from None
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{setting} {safe_name(str(path))[:60]}…: this name is too long") from None


def plain_name(text: str) -> str:
    """A text as part of a file's or camera's name: letters with their accents, digits, "_", "." and "-".

    Anything else becomes a "-", several in a row one.
    """
    kept = ""
    for char in unicodedata.normalize("NFC", text):  # macOS stores names with their accents apart
        is_mark = unicodedata.category(char).startswith("M") and kept[-1:].strip()
        kept += char if char.isalnum() or char in "_.-" or is_mark else " "
    return "-".join(kept.split()).strip("-.")


def utf8_name(name: str) -> str:
    """Converts a file name to the text that Python uses for it in a UTF-8 locale.

    Python represents bytes that the locale's encoding cannot decode as lone surrogates; in the C locale, these are all
    non-ASCII characters.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", sys.getfilesystemencodeerrors())
    return name
