"""The keys of the window: codes of the toolkits, the help."""

import pytest

from pipeline.records import SourceKind
from pipeline.sinks.keys import KEYS, Action, action_of, help_rows


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (ord("m"), Action.MASKS),
        (ord("M"), Action.MASKS),
        (27, Action.LEAVE),
        (27 | 0x100000, Action.LEAVE),  # GTK with Num Lock
        (32, Action.PAUSE),
        (65361, Action.BACK),  # X11, as Qt reports it; its low byte is that of "Q"
        (65363, Action.FORWARD),
        (65361 | 0x100000, Action.BACK),
        (63234, Action.BACK),  # Cocoa
        (63235, Action.FORWARD),
        (0x250000, Action.BACK),  # Windows
        (0x270000, Action.FORWARD),
        (13, Action.OTHER),
        (ord("x"), Action.OTHER),
        (65505, None),  # Shift
        (65513, None),  # Alt
        (0, None),
        (-1, None),
    ],
)
def test_codes(code, action):
    assert action_of(code) is action


def test_each_action_but_others_has_one_key():
    assert sorted(key.action.value for key in KEYS) == sorted(
        action.value for action in Action if action.value != "other"
    )


def test_the_help_lists_what_does_something_to_this_source():
    names = {kind: [name for name, _ in help_rows(kind)] for kind in SourceKind}
    assert names[SourceKind.RECORDED] == [key.name for key in KEYS]
    assert set(names[SourceKind.RECORDED]) - set(names[SourceKind.LIVE]) == {"←", "→"}
    assert set(names[SourceKind.RECORDED]) - set(names[SourceKind.STILLS]) == {"t", "r"}
    assert dict(help_rows(SourceKind.STILLS))["←"] == "previous image"
    assert dict(help_rows(SourceKind.RECORDED))["←"] == "5 s back"
