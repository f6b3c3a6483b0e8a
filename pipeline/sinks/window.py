"""A window on this machine's screen; `keys.py` lists its keys."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from pipeline.controls import Controls, ControlState, DisplayChange
from pipeline.records import Frame, SourceKind
from pipeline.settings.output_settings import AttractSettings, OverlaySettings, PlaySpeed, WindowSettings
from pipeline.sinks.album import Album
from pipeline.sinks.attract import AttractScreen, AttractTimer
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.inspector import Inspector
from pipeline.sinks.key_effects import KeyEffects
from pipeline.sinks.keys import SEEK_STEP_S, help_rows
from pipeline.sinks.still import save_still, still_name
from pipeline.sinks.toolkit import Desktop, Input, ToolkitWindow
from pipeline.sinks.viewport import Viewport
from pipeline.sources.base import position_text


class Window(KeyEffects, Sink):
    """Shows presented frames; runs in the main thread, as GUI toolkits require.

    Args:
        settings: title, full screen, folder of stills.
        controls: what keys switch, and other viewers too; None: keys switch nothing.
        attract: settings of the attract screen.
        desktop: this machine.
        is_alone: whether nothing is written: then each image waits for a key, and a file can be sought in.
    """

    name = "window"
    delivery = Delivery.MAIN_THREAD

    def __init__(
        self,
        settings: WindowSettings,
        controls: Controls | None = None,
        attract: AttractSettings | None = None,
        desktop: Desktop | None = None,
        is_alone: bool = True,
    ) -> None:
        self._settings = settings
        self._controls = controls or Controls(OverlaySettings())
        self._attract_settings = attract or AttractSettings()
        self._desktop = desktop or Desktop()
        self.is_alone = is_alone
        self.paced = settings.speed is PlaySpeed.FILE
        self.stop_requested = False
        self._toolkit = ToolkitWindow(settings, self._desktop)
        self._view = Viewport()
        self._context: RunContext | None = None
        self._attract: AttractScreen | None = None
        self._timer: AttractTimer | None = None
        self._album = Album()
        self._paused = self._holds_image = self._ended = False
        self._sought_s: float | None = None
        self._size_wh: tuple[int, int] | None = None
        self._drawn: ControlState | None = None
        self._seen = self._controls.state
        self._stills: list[str] = []

    # -- opening and closing ------------------------------------------------------------------------------------------

    def appear(self, message: str) -> None:
        """Open the window, before the source is known, with a message in it.

        Raises:
            InputError: the machine has no screen, or not the monitor of the settings; or what the attract screen shows
                cannot be read.
        """
        if self._attract_settings.after_s is not None:
            self._attract = AttractScreen(self._attract_settings)
        self._view = Viewport(attract=self._attract)
        self._view.has_status = self._settings.status
        self._toolkit.open()
        self.idle(message)

    def open(self, context: RunContext) -> None:
        """Give the window the size of the source; open it if it has not appeared yet. Raises InputError as `appear`."""
        if not self._toolkit.is_open:
            self.appear("")
        self._context = context
        self._view.inspector = Inspector(context.labels)
        if self._attract is not None:
            self._timer = AttractTimer(self._attract_settings, context.labels)
        self._toolkit.fit_to(context.source.width * float(context.source.sample_aspect_ratio), context.source.height)

    def close(self) -> None:
        """Close the window."""
        self._toolkit.close()
        if self._attract is not None:
            self._attract.close()

    # -- frames -------------------------------------------------------------------------------------------------------

    def write(self, presentation: Presentation) -> None:
        """Show one frame, unless a live source is paused, and handle keys."""
        view, frame = self._view, presentation.segmented.frame
        if self._toolkit.is_open and not (self._paused and self._kind is SourceKind.LIVE):
            self._sought_s = None
            is_still = self._kind is SourceKind.STILLS
            if is_still:
                self._album.add(presentation)
                self._holds_image = self.is_alone or self._is_last(frame)
            view.slate = ""
            view.attracts = self._timer is not None and self._timer.is_due(presentation.segmented)
            view.take(presentation, continues=not is_still)
            self._drawn = presentation.controls
            self._note_recordings()
            self._refresh()
        self._poll()

    def idle(self, message: str) -> None:
        """Handle keys; show `message` over the dimmed last frame, and what else has changed while no frame came."""
        if self._toolkit.is_open:
            changed = [self._note_recordings(), self._redraw(), self._view.note_ends(self._desktop.clock())]
            changed.append(self._toolkit.size_wh() != self._size_wh)
            if message and not self._paused:
                changed.append(message != self._view.slate)
                self._view.slate = message
            if any(changed) or self._view.moves:
                self._refresh()
        self._poll()

    def source_ended(self) -> None:
        """Hold the last image, also where fewer came than the source has: some cannot be read."""
        self._ended = True
        if self._kind is SourceKind.STILLS and not self.is_alone and self._view.presentation is not None:
            self._holds_image = True

    @property
    def paused(self) -> bool:  # type: ignore[override]
        """Whether a recorded source waits: paused, or while an image is looked at; not for the frame after a seek."""
        holds = (self._paused and self._sought_s is None) or self._holds_image
        return self._toolkit.is_open and not self.stop_requested and holds

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths of the saved stills."""
        return tuple(self._stills)

    @property
    def _kind(self) -> SourceKind:
        return self._context.source.kind if self._context is not None else SourceKind.LIVE

    def _is_last(self, frame: Frame) -> bool:
        count = self._context.source.frame_count if self._context is not None else None
        return self._ended or frame.index + 1 == count

    def _refresh(self) -> None:
        self._size_wh = self._toolkit.size_wh()
        self._toolkit.show(self._view.render(self._size_wh, self._desktop.clock()))

    def _redraw(self) -> bool:
        """Draws a frame that stays again if what is drawn was switched; whether it was."""
        context, presentation, state = self._context, self._view.presentation, self._controls.state
        if not self.paused or presentation is None or context is None or context.draw is None or self._drawn is None:
            return False
        if (state.overlay, state.min_score) == (self._drawn.overlay, self._drawn.min_score):
            return False
        self._drawn = state
        self._view.picture_bgr = context.draw(presentation.segmented)
        return True

    def _note_recordings(self) -> bool:
        """Notes what became of recordings; whether anything did."""
        before, now = self._seen, self._controls.state
        self._seen = now
        self._view.is_recording = now.recording and self._kind is not SourceKind.STILLS
        if now.error and now.error != before.error:
            self._note(f"the recording ended: {now.error}")
        elif now.saved is not None and now.saved != before.saved:
            self._note(f"saved {Path(now.saved).name}")
        return now is not before

    # -- input --------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        if not self._toolkit.is_open:
            return
        given = self._toolkit.poll()
        if self._toolkit.closed_by_user:
            self.stop_requested = True
        elif given != Input():
            self._handle(given)
            if not self.stop_requested:
                self._redraw()
                self._refresh()

    def _handle(self, given: Input) -> None:
        view = self._view
        if given.click is not None:
            point = view.frame_point(*given.click, self._size_wh or view.own_size_wh())
            if point is not None:
                view.inspector.choose_at(*point)
        if given.action is not None:
            self.act(given.action)

    def _toggle_help(self) -> None:
        self._view.keys = () if self._view.keys else help_rows(self._kind)

    def _inspect_next(self) -> None:
        self._view.inspector.choose_next()

    def _toggle_details(self) -> None:
        self._view.has_details = not self._view.has_details

    def _pause(self) -> None:
        if self._kind is SourceKind.STILLS:
            self._press_other()
        else:
            self._view.is_paused = self._paused = not self._paused
            self._toolkit.set_suffix(" (paused)" if self._paused else "")

    def _press_other(self) -> None:
        """Go to the next image; leaves the last one."""
        if self._kind is SourceKind.STILLS and not self._show_image(1):
            self._holds_image = False

    def _switch(self, name: str) -> None:
        on = not getattr(self._controls.state.overlay, name)
        self._controls.change_display(DisplayChange.model_validate({name: on}))
        self._note(f"{'track ids' if name == 'ids' else name} {'on' if on else 'off'}")

    def _step(self, direction: int) -> None:
        """Go to the image before or after this one, or to another place of a file."""
        presentation = self._view.presentation
        if self._kind is not SourceKind.STILLS:
            self._seek(direction * SEEK_STEP_S)
        elif presentation is None or self._show_image(direction):
            return
        elif direction < 0:
            is_first = presentation.segmented.frame.index == 0
            self._note("the first image" if is_first else "images before this one are no longer kept")
        elif self._is_last(presentation.segmented.frame):
            self._note("the last image: q quits")
        else:
            self._holds_image = False

    def _show_image(self, direction: int) -> bool:
        """Show the image before or after this one again; whether there is one that was shown."""
        shown = self._album.step(direction)
        if shown is not None:
            self._drawn = shown.controls
            self._view.take(shown, continues=False)
        return shown is not None

    def _seek(self, by_s: float) -> None:
        """Continue a file earlier or later, while it is not written."""
        seekable_s = self._context.source.seekable_s if self._context is not None else None
        if self._view.presentation is None:
            self._note("no seeking before the first frame")
        elif seekable_s is None:
            self._note("only a video file can be sought in")
        elif not self.is_alone or self._controls.state.recording:
            self._note("no seeking while the video is written")
        elif not self._controls.state.seekable:
            self._note("no seeking so close to the end")
        else:
            here_s = self._view.presentation.segmented.frame.position_s if self._sought_s is None else self._sought_s
            there_s = min(max(here_s + by_s, seekable_s[0]), seekable_s[1])
            if math.copysign(1, there_s - here_s) != math.copysign(1, by_s) or there_s == here_s:
                self._note("the end" if by_s > 0 else "the beginning")
                return
            self._sought_s = there_s
            self._controls.seek(there_s)
            self._note(position_text(there_s))

    def _record(self) -> None:
        if self._kind is SourceKind.STILLS:
            self._note("images are not recorded: s saves one")
        else:
            self._controls.set_recording(not self._controls.state.recording)

    def _save_still(self) -> None:
        """Save the current picture as a PNG; a failure is logged and does not end the run."""
        view = self._view
        if view.picture_bgr is None or view.presentation is None:
            return
        picture = replace(view.presentation, annotated_bgr=view.picture_bgr).square_bgr
        name = still_name(view.presentation.segmented.frame, self._kind, self._desktop.now())
        path = save_still(picture, Path(self._settings.stills_dir).expanduser(), name)
        if path is not None:
            self._stills.append(str(path))
        self._note(f"saved {path.name}" if path is not None else "the still cannot be saved: see the log")

    def _note(self, text: str) -> None:
        self._view.note(text, self._desktop.clock())
