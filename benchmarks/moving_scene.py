"""A moving scene with exact ground truth: objects cut from photographs move over a photograph on known paths.

The camera sways, the objects accelerate, turn back, approach and cross; the masks of every frame are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import cos, pi, sin
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame, Instances

PICTURES = Path(__file__).resolve().parents[1] / "tests" / "data" / "motion"
FPS = 30
MASK_SIZE = 28

Pose = tuple[float, float, float, float]
"""Center x and y as shares of the frame, height as a share of the frame's, angle in degrees."""


@dataclass(frozen=True)
class Actor:
    """A cut-out and its path.

    Attributes:
        picture: file name of the BGRA cut-out, without its ending.
        path: its pose at a time in seconds.
    """

    picture: str
    class_id: int
    path: Callable[[float], Pose]


def default_actors() -> list[Actor]:
    """Three objects on quick, curved paths, the last in front."""
    return [
        Actor("cat", 16, lambda t: (0.75 + 0.10 * sin(2.2 * t), 0.50 + 0.12 * cos(2.9 * t), 0.40 + 0.08 * sin(t), 0.0)),
        Actor("player", 1, lambda t: (0.40 + 0.22 * sin(1.9 * t), 0.58 + 0.05 * sin(5.0 * t), 0.50, 8 * sin(2.0 * t))),
        Actor("walker", 1, lambda t: (0.22 + 0.09 * t * (2 - 0.3 * t), 0.55, 0.42 + 0.06 * t, 0.0)),
    ]


def crowd(count: int) -> list[Actor]:
    """`count` smaller objects spread over the frame, each on a path of its own."""

    def path(i: int) -> Callable[[float], Pose]:
        x, y = (i % 5 + 0.5) / 5, 0.3 + 0.4 * (i // 5 % 2)
        return lambda t: (x + 0.06 * sin(2.0 * t + i), y + 0.05 * cos(2.6 * t + 2 * i), 0.35, 4 * sin(t + i))

    return [Actor(("cat", "player", "walker")[i % 3], (16, 1, 1)[i % 3], path(i)) for i in range(count)]


class MovingScene:
    """Draws the frames of a scene.

    Args:
        width, height: of the frames, in pixels.
        actors: the objects, from the back to the front.
        sway: amplitude of the camera's motion, as a share of the frame's width.
    """

    def __init__(
        self, width: int = 640, height: int = 360, actors: Sequence[Actor] | None = None, sway: float = 0.03
    ) -> None:
        self.width, self.height = width, height
        self._actors = list(actors) if actors is not None else default_actors()
        self._sway = sway
        self._background = _read("street.jpg")
        self._cutouts = {actor.picture: _premultiplied(_read(f"{actor.picture}.png")) for actor in self._actors}

    def frame(self, index: int) -> tuple[Frame, Instances, list[NDArray[np.bool_]]]:
        """Frame `index`, its instances (best score first: front to back) and their exact visible masks, bool (H, W)."""
        t = index / FPS
        image = self._draw_background(t)
        regions, alphas = [], []
        for actor in self._actors:
            cutout = self._cutouts[actor.picture]
            region, layer = self._layer(cutout, self._placement(actor.path(t), cutout))
            image[region] = image[region] * (1.0 - layer[..., 3:]) + layer[..., :3]
            regions.append(region)
            alphas.append(layer[..., 3])
        covered = np.zeros((self.height, self.width), np.bool_)
        masks = []
        for region, alpha in zip(reversed(regions), reversed(alphas), strict=True):
            mask = np.zeros_like(covered)
            mask[region] = (alpha >= 0.5) & ~covered[region]
            covered |= mask
            masks.append(mask)
        pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        frame = Frame("scene", index, index, Fraction(1, FPS), t, pixels)
        return frame, truth([actor.class_id for actor in reversed(self._actors)], masks), masks

    def _draw_background(self, t: float) -> NDArray[np.float32]:
        height, width = self._background.shape[:2]
        scale = 1.15 * max(self.width / width, self.height / height)
        shift_x = self._sway * self.width * sin(1.3 * t)
        shift_y = 0.5 * self._sway * self.width * sin(0.9 * t + 1)
        matrix = np.array(
            [
                [scale, 0, self.width / 2 - scale * width / 2 + shift_x],
                [0, scale, self.height / 2 - scale * height / 2 + shift_y],
            ]
        )
        size = (self.width, self.height)
        drawn = cv2.warpAffine(self._background, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(drawn, np.float32)

    def _layer(
        self, cutout: NDArray[np.float32], placement: NDArray[np.float64]
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """The rows and columns of the frame that a placed cut-out covers, and its pixels there, BGR and alpha."""
        height, width = cutout.shape[:2]
        corners = placement @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
        low = np.clip(np.floor(corners.min(1)) - 1, 0, (self.width - 1, self.height - 1)).astype(int)
        high = np.clip(np.ceil(corners.max(1)) + 1, low + 1, (self.width, self.height)).astype(int)
        moved = placement.copy()
        moved[:, 2] -= low
        layer = cv2.warpAffine(cutout, moved, (int(high[0] - low[0]), int(high[1] - low[1])))
        return (slice(low[1], high[1]), slice(low[0], high[0])), np.asarray(layer, np.float32)

    def _placement(self, pose: Pose, cutout: NDArray[np.float32]) -> NDArray[np.float64]:
        x, y, share, degrees = pose
        scale, angle = share * self.height / cutout.shape[0], degrees * pi / 180
        a, b = scale * cos(angle), scale * sin(angle)
        cx, cy = cutout.shape[1] / 2, cutout.shape[0] / 2
        return np.array([[a, b, x * self.width - a * cx - b * cy], [-b, a, y * self.height + b * cx - a * cy]])


def truth(class_ids: Sequence[int], masks: Sequence[NDArray[np.bool_]]) -> Instances:
    """The output of a perfect network: tight boxes, and each mask on a grid over its box.

    Objects of which nothing is visible are left out.
    """
    boxes, grids, ids = [], [], []
    for class_id, mask in zip(class_ids, masks, strict=True):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        if width == 0 or height == 0:
            continue
        crop = mask[y : y + height, x : x + width].astype(np.float32)
        grids.append(cv2.resize(crop, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA))
        boxes.append((x, y, x + width, y + height))
        ids.append(class_id)
    count = len(ids)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(ids, np.int32),
        np.linspace(0.99, 0.80, count, dtype=np.float32),
        np.array(grids, np.float32).reshape(count, MASK_SIZE, MASK_SIZE),
    )


def _read(name: str) -> NDArray[np.uint8]:
    image = cv2.imread(str(PICTURES / name), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FileNotFoundError(PICTURES / name)
    return np.asarray(image, np.uint8)


def _premultiplied(cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (h, w, 4): BGR times alpha in 0 … 255, alpha in 0 … 1; soft at the outline."""
    alpha = cv2.GaussianBlur(cutout[..., 3].astype(np.float32) / 255, (0, 0), 0.7)
    return np.dstack([cutout[..., :3] * alpha[..., None], alpha]).astype(np.float32)
