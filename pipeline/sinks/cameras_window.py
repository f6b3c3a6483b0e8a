"""The window of a run with several cameras: all of them in a mosaic, or one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.controls import Controls, ControlState, DisplayChange
from pipeline.drawing.panels import draw_chosen, draw_keys, draw_note
from pipeline.records import Image
from pipeline.settings.camera_settings import PLACEHOLDER
from pipeline.settings.output_settings import AttractSettings, PlaySpeed, WindowSettings
from pipeline.sinks.attract import AttractScreen, AttractTimer
from pipeline.sinks.base import CamerasViewer, Presentation, RunContext
from pipeline.sinks.inspector import Chosen, Inspector
from pipeline.sinks.key_effects import KeyEffects
from pipeline.sinks.keys import CAMERAS_KEYS
from pipeline.sinks.mosaic_view import MosaicView
from pipeline.sinks.still import save_still
from pipeline.sinks.toolkit import Desktop, Input, ToolkitWindow
from pipeline.sinks.viewport import NOTE_S

REFRESH_S = 1 / 60
"""The least time between two refreshes: with many cameras, frames come more often than a screen shows any."""
_ATTRACT_S = 1 / 30
"""The time between two pictures of the attract screen, which moves gently."""
_FIRST_WH = (1280, 720)
"""Where the toolkit does not tell the size of its window."""
_ALL = "cameras"
"""Stands for a camera's name in a still of all of them."""


@dataclass(frozen=True, slots=True)
class _Panels:
    """What is drawn over the pictures."""

    note: str = ""
    keys: bool = False
    chosen: Chosen | None = None


class CamerasWindow(KeyEffects, CamerasViewer):
    """Shows a mosaic of all cameras, one that the user chose, or one after the other.

    Args:
        settings: title, full screen, rotation, folder of stills.
        controls_of: what can be changed of a camera, by its name; None before its first run.
        attract: settings of the attract screen, which comes when nobody is in the live picture of any camera.
        desktop: this machine.

    Attributes:
        stills: paths of the saved stills.
    """

    def __init__(
        self,
        settings: WindowSettings,
        controls_of: Callable[[str], Controls | None],
        attract: AttractSettings | None = None,
        desktop: Desktop | None = None,
    ) -> None:
        self._settings = settings
        self._attract_settings = attract or AttractSettings()
        self._attract: AttractScreen | None = None
        self._timers: dict[str, AttractTimer] = {}
        self._nobody_in: dict[str, bool] = {}
        self._controls_of = controls_of
        self._desktop = desktop or Desktop()
        self._toolkit = ToolkitWindow(settings, self._desktop)
        self._view = MosaicView(self._now, settings.rotate_s)
        self._view.has_status = settings.status
        self._inspector: Inspector | None = None
        self._inspected: str | None = None
        self._paused_at_s: float | None = None
        self._due_s = 0.0
        self._has_keys = False
        self._note, self._note_until_s = "", 0.0
        self._seen_controls: dict[str, ControlState] = {}
        self._panels = _Panels()
        self.stop_requested = False
        self.paced = settings.speed is PlaySpeed.FILE
        self.stills: list[str] = []

    # -- the interface of a viewer ------------------------------------------------------------------------------------

    def open(self, cameras: Sequence[str]) -> None:
        """Open the window.

        Raises:
            InputError: the machine has no screen, or not the monitor of the settings; or what the attract screen shows
                cannot be read.
        """
        if self._attract_settings.after_s is not None:
            self._attract = AttractScreen(self._attract_settings)
        self._toolkit.open()
        self._view.set_cameras(cameras)
        self._refresh()
        self._toolkit.poll()  # shows it: what follows may take its time

    def write(self, camera: str, presentation: Presentation, context: RunContext) -> None:
        """Take a camera's newest frame, unless paused."""
        if self.paused:
            return
        self._view.show(camera, presentation, float(presentation.segmented.frame.sample_aspect_ratio))
        if self._attract is not None:
            if camera not in self._timers:
                self._timers[camera] = AttractTimer(self._attract_settings, context.labels)
            self._nobody_in[camera] = self._timers[camera].is_due(presentation.segmented)
        if camera != self._view.chosen:
            return
        if self._inspector is None or self._inspected != camera:
            self._inspector, self._inspected = Inspector(context.labels), camera
        instances = presentation.segmented.instances
        if presentation.controls is not None:
            instances = instances.select(instances.scores >= presentation.controls.min_score)
        self._inspector.see(instances, presentation.segmented.frame.pts_s)

    def idle(self, states: Mapping[str, str]) -> None:
        """Handle keys and clicks, and show what has changed."""
        now_s = self._desktop.clock()
        if not self._toolkit.is_open or now_s < self._due_s:
            return
        if not self.paused:
            self._view.set_cameras(list(states))
            for camera, waiting_for in states.items():
                self._view.explain(camera, waiting_for)
        self._note_recordings(states)
        self._due_s = now_s + (_ATTRACT_S if self._attracts else REFRESH_S)
        given = self._toolkit.poll()
        if self._toolkit.closed_by_user:
            self.stop_requested = True
            return
        self._handle(given)
        self._refresh()

    def close(self) -> None:
        """Close the window."""
        self._toolkit.close()
        if self._attract is not None:
            self._attract.close()

    @property
    def paused(self) -> bool:  # type: ignore[override]
        """Whether the picture stands still, and recorded sources wait."""
        return self._paused_at_s is not None and not self.stop_requested

    @property
    def _attracts(self) -> bool:
        """Whether the attract screen is shown."""
        live = [camera for camera in self._nobody_in if self._view.is_live(camera)]
        return bool(live) and all(self._nobody_in[camera] for camera in live)

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        """The time of the pictures, which stands still while they are paused."""
        return self._desktop.clock() if self._paused_at_s is None else self._paused_at_s

    def _refresh(self) -> None:
        """Shows the cameras and the panels over them, if anything has changed."""
        changed = self._view.draw(self._toolkit.size_wh() or _FIRST_WH) is not None
        panels = _Panels(self._note_text(), self._has_keys, self._chosen_object())
        attract = self._attract if self._attracts else None
        if not changed and panels == self._panels and attract is None:
            return
        self._panels = panels
        canvas = self._view.canvas
        if attract is not None:
            height, width = canvas.shape[:2]
            canvas = attract.draw((width, height), self._desktop.clock(), canvas)
        if panels != _Panels():
            canvas = canvas.copy()
            self._draw_panels(canvas)
        self._toolkit.show(canvas)

    def _note_text(self) -> str:
        note = self._note if self._desktop.clock() < self._note_until_s else ""
        return " · ".join(text for text in ("paused" if self.paused else "", note) if text)

    def _chosen_object(self) -> Chosen | None:
        """The object that the user chose, in pixels of the window."""
        camera = self._view.chosen
        newest = self._view.newest(camera) if camera is not None else None
        place = self._view.picture_at(camera) if camera is not None else None
        chosen = self._inspector.chosen() if self._inspector is not None and self._inspected == camera else None
        if newest is None or place is None or chosen is None:
            return None
        height, width = newest.annotated_bgr.shape[:2]
        across, down = (place[2] - place[0]) / width, (place[3] - place[1]) / height
        x1, y1, x2, y2 = chosen.box_xyxy
        box = place[0] + across * x1, place[1] + down * y1, place[0] + across * x2, place[1] + down * y2
        return Chosen(box, chosen.text)

    def _draw_panels(self, canvas: Image) -> None:
        if self._panels.chosen is not None:
            draw_chosen(canvas, self._panels.chosen.box_xyxy, self._panels.chosen.text)
        draw_note(canvas, self._panels.note)
        if self._panels.keys:
            draw_keys(canvas, CAMERAS_KEYS)

    # -- input --------------------------------------------------------------------------------------------------------

    def _handle(self, given: Input) -> None:
        if given.click is not None:
            self._click(*given.click)
        if given.number is not None:
            self._view.choose(given.number)
        elif given.action is not None:
            self.act(given.action)

    def _click(self, x: int, y: int) -> None:
        """Chooses a camera of several, or an object of the chosen one."""
        camera = self._view.chosen
        if camera is None:
            self._view.click(x, y)
            return
        newest, place = self._view.newest(camera), self._view.picture_at(camera)
        if newest is None or place is None or self._inspector is None or self._inspected != camera:
            return
        height, width = newest.annotated_bgr.shape[:2]
        u, v = (x + 0.5 - place[0]) / (place[2] - place[0]), (y + 0.5 - place[1]) / (place[3] - place[1])
        self._inspector.choose_at(u * width, v * height)

    def _inspect_next(self) -> None:
        if self._view.chosen is None:
            self._show_note("choose a camera first: 1 … 9, or click on it")
        elif self._inspector is not None and self._inspected == self._view.chosen:
            self._inspector.choose_next()

    def _toggle_help(self) -> None:
        self._has_keys = not self._has_keys

    def _toggle_details(self) -> None:
        self._view.has_status = not self._view.has_status

    def _step(self, direction: int) -> None:
        self._view.step(direction)

    def _back(self) -> bool:
        return self._view.back()

    def _pause(self) -> None:
        self._paused_at_s = self._desktop.clock() if self._paused_at_s is None else None
        self._toolkit.set_suffix(" (paused)" if self.paused else "")

    def _controls(self) -> list[Controls]:
        """Those of the cameras in view."""
        found = [self._controls_of(camera) for camera in self._view.seen]
        return [one for one in found if one is not None]

    def _switch(self, name: str) -> None:
        """Switches what is drawn of the cameras in view, all of them to the same."""
        controls = self._controls()
        if controls:
            on = not getattr(controls[0].state.overlay, name)
            for one in controls:
                one.change_display(DisplayChange.model_validate({name: on}))
            self._show_note(f"{'track ids' if name == 'ids' else name} {'on' if on else 'off'}")

    def _record(self) -> None:
        """Starts recordings of the cameras in view, or ends them if one is running."""
        controls = self._controls()
        on = not any(one.state.recording for one in controls)
        for one in controls:
            one.set_recording(on)

    def _note_recordings(self, cameras: Iterable[str]) -> None:
        """Notes what became of recordings since the last call."""
        for camera in cameras:
            controls = self._controls_of(camera)
            if controls is None:
                continue
            now = controls.state
            before = self._seen_controls.get(camera, now)
            self._seen_controls[camera] = now
            if now.error and now.error != before.error:
                self._show_note(f"the recording of {camera} ended: {now.error}")
            elif now.saved is not None and now.saved != before.saved:
                self._show_note(f"saved {Path(now.saved).name}")

    def _save_still(self) -> None:
        """Saves the picture of the camera that is seen alone, else of all of them, as a PNG."""
        seen = self._view.seen
        newest = self._view.newest(seen[0]) if len(seen) == 1 else None
        name = seen[0] if newest is not None else _ALL
        picture = self._view.canvas if newest is None else newest.square_bgr
        folder = Path(self._settings.stills_dir.replace(PLACEHOLDER, name)).expanduser()
        path = save_still(picture, folder, f"{name}-{self._desktop.now():%Y%m%d-%H%M%S}")
        if path is not None:
            self.stills.append(str(path))
        self._show_note(f"saved {path.name}" if path is not None else "the still cannot be saved: see the log")

    def _show_note(self, text: str) -> None:
        self._note, self._note_until_s = text, self._desktop.clock() + NOTE_S
