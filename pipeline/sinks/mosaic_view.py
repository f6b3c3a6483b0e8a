"""What a window shows of several cameras: all of them, one that was chosen, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.drawing.mosaic import Mosaic, Tile
from pipeline.drawing.placement import Rectangle
from pipeline.records import Clock, Image
from pipeline.sinks.base import Presentation

_STALE_AFTER_S, _STALE_FRAMES = 2.0, 3
"""A picture that is older than this, and than so many frames at the camera's rate, is shown as an old one …"""
_WAITING_AFTER_S = 0.5
"""… and after this if something keeps frames from coming: the network may load while they do."""
_LEAST_SIDE = 180
"""Pixels of a window's shorter side; in smaller ones the picture is scaled down further."""


@dataclass(slots=True, eq=False)
class _Camera:
    """What is known of a camera.

    Attributes:
        newest: its newest frame; None before the first.
        pixel_aspect: width / height of a pixel.
        waiting_for: what keeps frames from coming; "" if nothing is known to.
    """

    newest: Presentation | None = None
    pixel_aspect: float = 1.0
    waiting_for: str = ""


class MosaicView:
    """Holds the newest picture of each camera, and draws those that are to be seen.

    It takes presentations only: what privacy settings cover is in none of them.

    Args:
        clock: that of the cameras' streams.
        rotate_s: seconds for which each camera is shown in turn, instead of all at once; None for all of them.

    Attributes:
        has_status: whether a camera that is seen alone has its rate and counts above it; a grid always has them.
    """

    def __init__(self, clock: Clock, rotate_s: float | None = None) -> None:
        self.has_status = True
        self._clock = clock
        self._rotate_s = rotate_s
        self._cameras: dict[str, _Camera] = {}
        self._chosen: str | None = None
        self._rotating = rotate_s is not None
        self._turn: str | None = None
        self._turn_since_s = 0.0
        self._mosaic = Mosaic((16, 9))
        self._shown: Sequence[str] = ()

    def set_cameras(self, names: Sequence[str]) -> None:
        """Sets the cameras that there are, in the order of their tiles; those that were there keep their pictures."""
        self._cameras = {name: self._cameras.get(name, _Camera()) for name in names}
        if self._chosen not in self._cameras:
            self._chosen = None

    def show(self, camera: str, presentation: Presentation, pixel_aspect: float = 1.0) -> None:
        """Sets a camera's newest frame; one that `set_cameras` has not named comes last, until it is called again.

        Args:
            camera: its name.
            presentation: of this camera.
            pixel_aspect: width / height of a pixel.
        """
        self._cameras[camera] = _Camera(presentation, pixel_aspect)

    def explain(self, camera: str, waiting_for: str) -> None:
        """Sets what keeps a camera's pictures from coming, such as "offline since 14:03"; "" if nothing is known to."""
        self._cameras[camera].waiting_for = waiting_for

    @property
    def chosen(self) -> str | None:
        """The camera that the user chose; None for all of them, or one after the other."""
        return self._chosen

    @property
    def seen(self) -> Sequence[str]:
        """The cameras that were drawn last."""
        return self._shown

    @property
    def canvas(self) -> Image:
        """What was drawn last, uint8 (H, W, 3)."""
        return self._mosaic.canvas

    def newest(self, camera: str) -> Presentation | None:
        """The newest frame of a camera; None before the first."""
        return self._cameras[camera].newest if camera in self._cameras else None

    def is_live(self, camera: str) -> bool:
        """Whether the newest frame of a camera is recent."""
        return camera in self._cameras and not self._slate(self._cameras[camera])

    def picture_at(self, camera: str) -> Rectangle | None:
        """Where the live picture of a camera was drawn last; None if it was not."""
        if camera not in self._shown or not self.is_live(camera):
            return None
        return self._mosaic.picture_at(self._shown.index(camera))

    def choose(self, number: int) -> None:
        """Shows the camera with a number from 1 on, if there is one; 0: all of them, also where they would rotate."""
        names = list(self._cameras)
        if number == 0:
            self._chosen, self._rotating = None, False
        elif number <= len(names):
            self._chosen = names[number - 1]

    def step(self, by: int) -> None:
        """Shows the next camera (1) or the one before (-1); where all are seen, the first or the last one."""
        names = list(self._cameras)
        if len(self._shown) == 1 and self._shown[0] in names:
            self._chosen = names[(names.index(self._shown[0]) + by) % len(names)]
        elif names:
            self._chosen = names[0 if by > 0 else -1]

    def click(self, x: int, y: int) -> None:
        """Shows the camera at a pixel of the picture that was drawn last."""
        index = self._mosaic.tile_at(x, y)
        if index is not None and self._shown[index] in self._cameras:
            self._chosen = self._shown[index]

    def back(self) -> bool:
        """Goes back to what is shown without a choice of the user's; returns whether that is a change."""
        rotating = self._rotate_s is not None
        changed = self._chosen is not None or self._rotating is not rotating
        self._chosen, self._rotating, self._turn_since_s = None, rotating, self._clock()
        return changed

    def draw(self, size_wh: tuple[int, int]) -> Image | None:
        """The picture to show now: uint8 (H, W, 3), valid until the next call; None if nothing has changed.

        Args:
            size_wh: width and height of the window, pixels.
        """
        shown = self._names_to_show()
        if not shown:
            if not self._shown:
                return None
            self._shown, self._mosaic = (), Mosaic(self._mosaic.size_wh)  # the last camera was removed
            return self._mosaic.canvas
        enlarged = max(1.0, _LEAST_SIDE / min(size_wh))
        size_wh = round(size_wh[0] * enlarged), round(size_wh[1] * enlarged)
        if size_wh != self._mosaic.size_wh:
            self._mosaic = Mosaic(size_wh)
        self._shown = shown
        tiles = [self._tile(name) for name in shown]
        return None if self._mosaic.shows(tiles) else self._mosaic.draw(tiles)

    def _names_to_show(self) -> Sequence[str]:
        names = list(self._cameras)
        if self._chosen is not None:
            return [self._chosen]
        if not self._rotating or self._rotate_s is None:
            return names
        live = [name for name in names if self.is_live(name)]
        now_s = self._clock()
        if live and (self._turn not in live or now_s - self._turn_since_s >= self._rotate_s):
            start = names.index(self._turn) + 1 if self._turn in names else 0
            self._turn = next(name for name in names[start:] + names[:start] if name in live)
            self._turn_since_s = now_s
        return [self._turn] if live and self._turn is not None else names

    def _tile(self, name: str) -> Tile:
        camera = self._cameras[name]
        slate, newest = self._slate(camera), camera.newest
        if newest is None:
            return Tile(name, slate=slate)
        if slate:  # without the masks, which are not where they were
            return Tile(name, newest.segmented.frame.image_bgr, slate=slate, pixel_aspect=camera.pixel_aspect)
        status = newest.status if self.has_status or len(self._shown) > 1 else None
        details = status.for_tile() if status is not None else []
        if camera.waiting_for:
            details = [camera.waiting_for, *details]
        if newest.controls is not None and newest.controls.recording:
            details = [*details, "● recording"]
        return Tile(name, newest.annotated_bgr, details, pixel_aspect=camera.pixel_aspect)

    def _slate(self, camera: _Camera) -> str:
        """Why a camera's picture is not live; "" if it is."""
        if camera.newest is None:
            return camera.waiting_for or "no picture yet"
        presented_at_s = camera.newest.segmented.times.presented_at_s
        fps = camera.newest.status.display_fps if camera.newest.status is not None else None
        age_s = 0.0 if presented_at_s is None else self._clock() - presented_at_s
        after_s = _WAITING_AFTER_S if camera.waiting_for else _STALE_AFTER_S
        if age_s <= max(after_s, _STALE_FRAMES / fps if fps else 0.0):
            return ""
        return camera.waiting_for or f"no picture for {age_s:.0f} s"
