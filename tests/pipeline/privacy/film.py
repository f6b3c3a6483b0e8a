"""A person with a random texture in front of a wall, as a film, and how much of the person a picture shows.

In a picture of a frame, an 8x8 block of the person is uncovered if its pixels correlate with the texture. That of
independent noise exceeds 0.5 in one of 30,000 blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

HEIGHT, WIDTH, FRAMES, FPS = 200, 320, 60, 25
BLOCK = 8
PERSON_HW = (160, 80)
PERSON_Y = 32
UNCOVERED_FROM = 0.5
LEAST_CONTRAST = 0.5
"""Gray levels, a standard deviation: rounding alone reaches it in files; the person's blocks have 1.8 at least."""
MOST_UNCOVERED = 0.005

_random = np.random.default_rng(11)
# Squares of 2x2 blocks: what is left of them in a blurred person does not correlate with the texture within a block.
CLOTHES = np.kron(_random.uniform(0.4, 1.6, (10, 5)), np.ones((2 * BLOCK, 2 * BLOCK)))
TEXTURE = CLOTHES * _random.uniform(0.5, 1.5, PERSON_HW)
"""Reflectance of the person, relative to the mean of the background."""
WALL = cv2.resize(_random.uniform(0.7, 1.3, (10, 16)), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
WALL *= _random.uniform(0.7, 1.3, (HEIGHT, WIDTH))


@dataclass(frozen=True)
class Light:
    """Mean gray level of the background, and standard deviation of the camera's noise."""

    brightness: float
    noise: float


DAY, NIGHT = Light(100, 2), Light(16, 0.7)


@dataclass(frozen=True)
class Film:
    """A person who walks, in front of a wall; what is shown and where is a function of the frame's number.

    Attributes:
        light: at the beginning.
        start: where the person is then, pixels from the left.
        step: pixels a frame that the person walks, to the left if negative.
        pan: pixels a frame by which the wall moves.
        cuts: frames with which another part of the wall comes, and the person stands half a picture further on.
        dusk: frame with which the light becomes the night's; None: it stays.
        enlarged: frame with which pictures become larger by a half; None: they stay.
        camera: its number, which the second pixel tells the engine.
    """

    light: Light = DAY
    start: int = -PERSON_HW[1]
    step: int = 4
    pan: int = 0
    cuts: tuple[int, ...] = ()
    dusk: int | None = None
    enlarged: int | None = None
    camera: int = 0

    def person_x(self, index: int) -> int:
        """The person's left edge, pixels of a picture of the usual size; may lie outside."""
        x, cuts = self.start + self.step * index, sum(cut <= index for cut in self.cuts)
        return (x + cuts * WIDTH // 2) % WIDTH if cuts else x

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of a frame."""
        is_large = self.enlarged is not None and index >= self.enlarged
        return (3 * HEIGHT // 2, 3 * WIDTH // 2) if is_large else (HEIGHT, WIDTH)

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3): frame `index`, which its first pixel tells the engine."""
        return _image(self, index)

    def correlations(self, image: np.ndarray, index: int) -> np.ndarray:
        """float64 (N,): of each block of the person that lies in the frame, with the texture there."""
        if image.shape[:2] != (HEIGHT, WIDTH):
            image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        x = self.person_x(index)
        visible = np.array([0 <= x + column <= WIDTH - BLOCK for column in range(0, PERSON_HW[1], BLOCK)])
        if not visible.any():
            return np.zeros(0)
        first, last = x + BLOCK * np.flatnonzero(visible)[[0, -1]]
        shown = blocks(image, first, last + BLOCK)
        texture = CENTERED_TEXTURE[np.tile(visible, PERSON_HW[0] // BLOCK)]
        energy = np.einsum("nb,nb->n", shown, shown)
        spread = np.sqrt(energy * np.einsum("nb,nb->n", texture, texture))
        products = np.einsum("nb,nb->n", shown, texture)
        return np.where(energy < LEAST_CONTRAST**2 * BLOCK**2, 0, products / np.maximum(spread, 1e-6))

    def uncovered(self, image: np.ndarray, index: int) -> float:
        """The share of the person's blocks that can be recognized."""
        found = self.correlations(image, index)
        return float((found > UNCOVERED_FROM).mean()) if found.size else 0.0


@lru_cache(maxsize=256)
def _image(film: Film, index: int) -> np.ndarray:
    cuts = sum(cut <= index for cut in film.cuts)
    reflectance = np.roll(WALL[:, ::-1] if cuts % 2 else WALL, film.pan * index, axis=1).copy()
    x = film.person_x(index)
    x1, x2 = max(0, x), min(WIDTH, x + PERSON_HW[1])
    if x2 > x1:
        reflectance[PERSON_Y : PERSON_Y + PERSON_HW[0], x1:x2] = TEXTURE[:, x1 - x : x2 - x]
    light = NIGHT if film.dusk is not None and index >= film.dusk else film.light
    noise = np.random.default_rng(index).normal(0, light.noise, (HEIGHT, WIDTH, 3))
    image = np.clip(np.rint(light.brightness * reflectance[..., None] + noise), 0, 255).astype(np.uint8)
    height, width = film.size_hw(index)
    if (height, width) != (HEIGHT, WIDTH):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    image[0, 0], image[0, 1] = index, film.camera
    image.flags.writeable = False
    return image


def blocks(image, x1, x2):
    """float64 (N, 64): the gray blocks between two columns at the person's height, each with mean 0."""
    part = image[PERSON_Y : PERSON_Y + PERSON_HW[0], x1:x2]
    if part.ndim == 3:
        part = cv2.transform(part.astype(float), np.full((1, part.shape[2]), 1 / part.shape[2]))
    rows = part.astype(float).reshape(PERSON_HW[0] // BLOCK, BLOCK, -1, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    return rows - rows.mean(axis=1, keepdims=True)


CENTERED_TEXTURE = blocks(np.pad(TEXTURE, ((PERSON_Y, 0), (0, 0))), 0, PERSON_HW[1])
