"""The keys of a window: one table for what they do, the help, and the command line's epilog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pipeline.records import SourceKind

SEEK_STEP_S = 5.0

_ESCAPE, _SPACE = "Esc", "space"
_NAMED = {27: _ESCAPE, 32: _SPACE}
_ARROWS = {
    **dict.fromkeys((65361, 63234, 0x250000), "←"),
    **dict.fromkeys((65363, 63235, 0x270000), "→"),
}
"""Codes of cv2.waitKeyEx: X11 keysyms (Qt and GTK on Linux), Cocoa, Windows."""


class Action(Enum):
    """What a key does."""

    HELP = "help"
    MASKS = "masks"
    BOXES = "boxes"
    LABELS = "labels"
    IDS = "ids"
    INSPECT = "inspect"
    DETAILS = "details"
    BACK = "back"
    FORWARD = "forward"
    PAUSE = "pause"
    RECORD = "record"
    SAVE = "save"
    FULLSCREEN = "fullscreen"
    LEAVE = "leave"
    """Full screen first, then the run."""
    QUIT = "quit"
    OTHER = "other"
    """Any other character: the next image, where images are shown."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Attributes:
        name: as it is shown; a letter in any case.
        action: what it does.
        text: the same in words.
        of_kind: other words by kind of source; None where the key does nothing.
    """

    name: str
    action: Action
    text: str
    of_kind: Mapping[SourceKind, str | None]

    def text_for(self, kind: SourceKind) -> str | None:
        """What it does to this kind of source, in words; None for nothing."""
        return self.of_kind.get(kind, self.text)


_STEP = f"{SEEK_STEP_S:g} s"
_NO_STILLS: Mapping[SourceKind, str | None] = {SourceKind.STILLS: None}
KEYS = (
    Key("h", Action.HELP, "show or hide the keys", {}),
    Key("m", Action.MASKS, "masks on or off", {}),
    Key("b", Action.BOXES, "boxes", {}),
    Key("l", Action.LABELS, "labels", {}),
    Key("t", Action.IDS, "track ids", _NO_STILLS),
    Key("i", Action.INSPECT, "describe the next object (or click on it)", {}),
    Key("d", Action.DETAILS, "rates in detail", {}),
    Key(_SPACE, Action.PAUSE, "pause", {SourceKind.STILLS: "next image"}),
    Key("←", Action.BACK, f"{_STEP} back", {SourceKind.STILLS: "previous image", SourceKind.LIVE: None}),
    Key("→", Action.FORWARD, f"{_STEP} forward", {SourceKind.STILLS: "next image", SourceKind.LIVE: None}),
    Key("r", Action.RECORD, "start or end a recording", _NO_STILLS),
    Key("s", Action.SAVE, "save a still", {}),
    Key("f", Action.FULLSCREEN, "full screen", {}),
    Key(_ESCAPE, Action.LEAVE, "leave full screen, else quit", {}),
    Key("q", Action.QUIT, "quit", {}),
)
CAMERAS_KEYS = (
    ("1 … 9", "one camera (or click on it)"),
    ("0", "all cameras"),
    ("← →", "the camera before, the next one"),
    ("h", "show or hide the keys"),
    ("m b l t", "masks, boxes, labels, track ids of the cameras in view"),
    ("i", "describe the next object of a camera (or click on it)"),
    ("d", "rate and counts of a camera that is seen alone"),
    (_SPACE, "pause"),
    ("r", "start or end recordings of the cameras in view"),
    ("s", "save a still"),
    ("f", "full screen"),
    (_ESCAPE, "back to all cameras, leave full screen, else quit"),
    ("q", "quit"),
)
"""Keys of a window with several cameras, and what they do."""
_DIGITS = tuple("0123456789")
KEYS_HELP = "h shows them all; q quits, f toggles full screen, s saves a still, r records, space pauses"
_ACTIONS = {key.name: key.action for key in KEYS}


def action_of(code: int) -> Action | None:
    """The action of a code from cv2.waitKeyEx; None for -1, and for keys such as Shift."""
    name = _ARROWS.get(code) or _ARROWS.get(code & 0xFFFF)  # GTK adds modifiers above
    if name is None and code >= 0 and code & 0xFF00 == 0 and code & 0xFF:
        name = _NAMED.get(code & 0xFF) or chr(code & 0xFF).lower()
    return None if name is None else _ACTIONS.get(name, Action.OTHER)


def number_of(code: int) -> int | None:
    """The digit of a number key, from its code; None for another key."""
    char = chr(code & 0xFF) if code >= 0 and code & 0xFF00 == 0 else ""
    return int(char) if char in _DIGITS else None


def help_rows(kind: SourceKind) -> list[tuple[str, str]]:
    """Name and effect of the keys that do something to this kind of source."""
    texts = [(key.name, key.text_for(kind)) for key in KEYS]
    return [(name, text) for name, text in texts if text is not None]
