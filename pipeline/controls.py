"""What viewers can change while a run lasts: what is drawn, from which score on, and whether it is recorded."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from pipeline.settings.output_settings import ColorBy, OverlaySettings
from pipeline.settings.section import Section


class DisplayChange(Section):
    """A change of what is drawn; None leaves a switch as it is.

    Attributes:
        masks, boxes, labels, ids, scores, status, color_by: those of `OverlaySettings`.
        min_score: objects below it are not drawn.
    """

    masks: bool | None = None
    boxes: bool | None = None
    labels: bool | None = None
    ids: bool | None = None
    scores: bool | None = None
    status: bool | None = None
    color_by: ColorBy | None = None
    min_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None


@dataclass(frozen=True, slots=True)
class ControlState:
    """The state of the controls at one moment.

    Attributes:
        overlay: what is drawn and how.
        min_score: objects below it are not drawn. They stay in the detections file and in what a `Stream` yields.
        recording: whether frames are to be recorded.
        take: how often recording was switched on; each take is a separate file.
        file: the recording that is being written; None when none is.
        saved: the last recording that was finished; None before the first, and when it was deleted.
        error: why the last recording failed; "" if it did not.
        seekable: whether seeks still reach the source; not once all of it was read.
    """

    overlay: OverlaySettings
    min_score: float = 0.0
    recording: bool = False
    take: int = 0
    file: str | None = None
    saved: str | None = None
    error: str = ""
    seekable: bool = True


class Controls:
    """Holds the state, which is immutable; safe from any thread.

    Args:
        overlay: the initial overlay.
        recording: whether the run begins with a recording.

    Attributes:
        state: the present state, replaced whole.
    """

    def __init__(self, overlay: OverlaySettings, recording: bool = False) -> None:
        self._lock = threading.Lock()
        self._seek_s: float | None = None
        self.state = ControlState(overlay, recording=recording, take=int(recording))

    def change_display(self, change: DisplayChange) -> ControlState:
        """Switch what is drawn from the next frame on; returns the new state."""
        switches = {name: value for name, value in change.model_dump().items() if value is not None}
        with self._lock:
            min_score = switches.pop("min_score", self.state.min_score)
            overlay = self.state.overlay.model_copy(update=switches)
            self.state = replace(self.state, overlay=overlay, min_score=min_score)
            return self.state

    def set_recording(self, on: bool) -> ControlState:
        """Start a recording with the next frame, or end it; returns the new state."""
        with self._lock:
            state = self.state
            if on and not state.recording:
                self.state = replace(state, recording=True, take=state.take + 1, error="")
            elif not on:
                self.state = replace(state, recording=False)
            return self.state

    def seek(self, position_s: float) -> None:
        """Request that a file continues at this position, within `SourceInfo.seekable_s`."""
        with self._lock:
            self._seek_s = position_s

    def take_seek(self) -> float | None:
        """The position that was requested last, once; None if there is no new one."""
        with self._lock:
            position_s, self._seek_s = self._seek_s, None
            return position_s

    def end_seeking(self) -> None:
        """The source was read to its end: drop what was requested, and refuse what is requested from now on."""
        with self._lock:
            self._seek_s = None
            if self.state.seekable:
                self.state = replace(self.state, seekable=False)

    def recording_to(self, file: str | None) -> None:
        """The recorder has begun to write this file, and finished the one before; None while it pauses."""
        with self._lock:
            self.state = replace(self.state, file=file, saved=self.state.file or self.state.saved)

    def recording_deleted(self, file: str) -> None:
        """A finished recording is gone."""
        with self._lock:
            if self.state.saved == file:
                self.state = replace(self.state, saved=None)

    def recording_ended(self, take: int, error: str = "") -> None:
        """The recorder has finished the file of this take; an error switches the recording off, if it is still that."""
        with self._lock:
            state = self.state
            recording = state.recording and not (error and take == state.take)
            saved = state.saved if error else state.file or state.saved
            self.state = replace(state, recording=recording, file=None, saved=saved, error=error or state.error)
