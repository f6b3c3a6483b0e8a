"""The table from actions to what a window does; the windows' own tests press the keys."""

import pytest

from pipeline.sinks.key_effects import KeyEffects
from pipeline.sinks.keys import Action


class Screen:
    """A toolkit that is only full screen or not."""

    def __init__(self, fullscreen=False):
        self.fullscreen = fullscreen

    def toggle_fullscreen(self):
        self.fullscreen = not self.fullscreen


class Effects(KeyEffects):
    """Remembers what it did; has one thing to go back from if `inside`."""

    def __init__(self, fullscreen=False, inside=False):
        self._toolkit = self.screen = Screen(fullscreen)
        self.stop_requested = False
        self.inside = inside
        self.done = []

    def _toggle_help(self):
        self.done.append("help")

    def _switch(self, name):
        self.done.append(name)

    def _inspect_next(self):
        self.done.append("inspect")

    def _toggle_details(self):
        self.done.append("details")

    def _step(self, direction):
        self.done.append(direction)

    def _pause(self):
        self.done.append("pause")

    def _record(self):
        self.done.append("record")

    def _save_still(self):
        self.done.append("save")

    def _back(self):
        inside, self.inside = self.inside, False
        return inside


@pytest.mark.parametrize(
    ("action", "done"),
    [
        *((action, action.value) for action in Action if action.value in ("help", "inspect", "details", "pause")),
        *((action, action.value) for action in (Action.MASKS, Action.BOXES, Action.LABELS, Action.IDS)),
        *((Action.BACK, -1), (Action.FORWARD, 1), (Action.RECORD, "record"), (Action.SAVE, "save")),
    ],
)
def test_each_action_does_what_its_name_says(action, done):
    effects = Effects()
    effects.act(action)
    assert effects.done == [done]
    assert not effects.stop_requested


def test_every_action_has_an_effect():
    for action in Action:
        Effects().act(action)


def test_escape_goes_back_step_by_step_and_then_quits():
    effects = Effects(fullscreen=True, inside=True)
    states = []
    for _ in range(3):
        effects.act(Action.LEAVE)
        states.append((effects.inside, effects.screen.fullscreen, effects.stop_requested))
    assert states == [(False, True, False), (False, False, False), (False, False, True)]


def test_full_screen_and_quit():
    effects = Effects()
    effects.act(Action.FULLSCREEN)
    assert effects.screen.fullscreen
    effects.act(Action.QUIT)
    assert effects.stop_requested
