"""What the actions of keys do in a window: one table for that of one camera and that of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial

from pipeline.sinks.keys import Action
from pipeline.sinks.toolkit import ToolkitWindow


class KeyEffects(ABC):
    """A window as keys see it."""

    _toolkit: ToolkitWindow
    stop_requested: bool

    @cached_property
    def _effects(self) -> Mapping[Action, Callable[[], object]]:
        return {
            Action.HELP: self._toggle_help,
            Action.MASKS: partial(self._switch, "masks"),
            Action.BOXES: partial(self._switch, "boxes"),
            Action.LABELS: partial(self._switch, "labels"),
            Action.IDS: partial(self._switch, "ids"),
            Action.INSPECT: self._inspect_next,
            Action.DETAILS: self._toggle_details,
            Action.BACK: partial(self._step, -1),
            Action.FORWARD: partial(self._step, 1),
            Action.PAUSE: self._pause,
            Action.RECORD: self._record,
            Action.SAVE: self._save_still,
            Action.FULLSCREEN: self._toolkit.toggle_fullscreen,
            Action.LEAVE: self._leave,
            Action.QUIT: self._quit,
            Action.OTHER: self._press_other,
        }

    def act(self, action: Action) -> None:
        """Do what the key of an action does."""
        self._effects[action]()

    def _leave(self) -> None:
        """Goes back one step: to all cameras, out of full screen, out of the run."""
        if self._back():
            return
        if self._toolkit.fullscreen:
            self._toolkit.toggle_fullscreen()
        else:
            self._quit()

    def _quit(self) -> None:
        self.stop_requested = True

    def _back(self) -> bool:
        """Leaves what is shown for what was shown before; returns whether there was something to leave."""
        return False

    @abstractmethod
    def _toggle_help(self) -> None: ...

    @abstractmethod
    def _switch(self, name: str) -> None:
        """Turns masks, boxes, labels or ids on or off."""

    @abstractmethod
    def _inspect_next(self) -> None:
        """Describes the next object."""

    @abstractmethod
    def _toggle_details(self) -> None: ...

    @abstractmethod
    def _step(self, direction: int) -> None:
        """Goes back (-1) or forward (1)."""

    @abstractmethod
    def _pause(self) -> None: ...

    @abstractmethod
    def _record(self) -> None:
        """Starts or ends recordings."""

    @abstractmethod
    def _save_still(self) -> None: ...

    def _press_other(self) -> None:  # noqa: B027  most windows have no use for other keys
        """Any other key: nothing."""
