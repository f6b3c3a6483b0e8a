"""The fonts that labels are written in: the shipped one, then those of the system."""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

import uharfbuzz as hb

log = logging.getLogger(__name__)

SHIPPED_FONT = Path(__file__).parent / "fonts" / "labels.ttc"
_SYSTEM_FOLDERS = {
    "win32": ("{WINDIR}/Fonts", "{LOCALAPPDATA}/Microsoft/Windows/Fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "{HOME}/Library/Fonts"),
}
_UNIX_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "{HOME}/.local/share/fonts", "{HOME}/.fonts")
_UNUSUAL = ("italic", "oblique", "bold", "black", "thin", "light", "mono", "serif", "condensed", "narrow")
_PACKAGES = {
    "CJK": "fonts-noto-cjk",
    "HIRAGANA": "fonts-noto-cjk",
    "KATAKANA": "fonts-noto-cjk",
    "HANGUL": "fonts-noto-cjk",
    "SYMBOL": "fonts-noto-color-emoji",
}
"""By script: the Debian and Ubuntu package with a font for it; for others fonts-noto-core."""


def system_fonts(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> Sequence[Path]:
    """Font files of the system, regular sans-serif faces and emoji first.

    Args:
        platform: as `sys.platform`.
        environment: environment variables.
    """
    found: set[Path] = set()
    for folder in _SYSTEM_FOLDERS.get(platform, _UNIX_FOLDERS):
        try:
            path = Path(folder.format_map(environment))
        except KeyError:
            continue
        found.update(file for file in path.rglob("*") if file.suffix.lower() in (".ttf", ".otf", ".ttc"))

    def rank(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return sum(word in name.replace("sans", "") for word in _UNUSUAL), name

    return sorted(found, key=rank)


class FontFaces:
    """The faces of the shipped font, then those of other fonts; opened when they are needed.

    Args:
        find_others: returns font files in the order in which they are tried; called once the shipped font lacks a
            character. A file that cannot be read is skipped.
    """

    def __init__(self, find_others: Callable[[], Sequence[Path]] = system_fonts) -> None:
        self._find_others = find_others
        blob = hb.Blob.from_file_path(SHIPPED_FONT)
        self._shipped = tuple(hb.Face(blob, index) for index in range(hb.Face(blob, 0).count))
        self._opened: dict[Path, hb.Face | None] = {}
        self._chosen: dict[tuple[str, bool], hb.Face] = {}
        self._missing: set[str] = set()

    def face_for(self, char: str, as_emoji: bool = False) -> hb.Face:
        """The first face that has a character; the shipped one, which draws a box, where there is none.

        That is logged once for each script.

        Args:
            char: the character.
            as_emoji: whether fonts of emoji are tried first.
        """
        key = char, as_emoji
        if key not in self._chosen:
            self._chosen[key] = self._choose(char, as_emoji)
        return self._chosen[key]

    @cached_property
    def _others(self) -> Sequence[Path]:
        return self._find_others()

    def _choose(self, char: str, as_emoji: bool) -> hb.Face:
        for face in self._in_order(as_emoji):
            if hb.Font(face).get_nominal_glyph(ord(char)):
                return face
        self._note_missing(_script(char))
        return self._shipped[0]

    def _in_order(self, emoji_first: bool) -> Iterator[hb.Face]:
        emoji = [path for path in self._others if "emoji" in path.name.lower()] if emoji_first else []
        yield from self._open(emoji)
        yield from self._shipped
        yield from self._open(self._others)

    def _open(self, paths: Sequence[Path]) -> Iterator[hb.Face]:
        for path in paths:
            if path not in self._opened:
                self._opened[path] = _face_in(path)
            face = self._opened[path]
            if face is not None:
                yield face

    def _note_missing(self, script: str) -> None:
        if script in self._missing:
            return
        self._missing.add(script)
        name = "emoji and symbols" if script == "SYMBOL" else f"the script {script.title()}"
        package = _PACKAGES.get(script, "fonts-noto-core")
        log.warning("no font on this machine has %s, drawing boxes: install one (Debian and Ubuntu: %s)", name, package)


@cache
def faces_of_this_machine() -> FontFaces:
    """The faces of the shipped font and of the system's."""
    return FontFaces()


def _face_in(path: Path) -> hb.Face | None:
    try:
        return hb.Face(hb.Blob.from_file_path(path), 0)
    except (OSError, hb.HarfBuzzError):
        return None


def _script(char: str) -> str:
    """The first word of a character's name, which is its script for letters; SYMBOL for emoji."""
    return "SYMBOL" if unicodedata.category(char) == "So" else unicodedata.name(char, "UNKNOWN").split()[0]
