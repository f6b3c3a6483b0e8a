"""A synthetic sequence with exact ground truth: objects cut from photographs move over another one.

They cross, occlude one another, meet and turn round, run in curves, approach, leave and return. `detect` simulates a
detector: jitter of boxes and masks, scores that decrease with occlusion, misses, false positives, wrong classes;
`keep_frames` drops frames. Everything is reproducible from a seed.

Shape letters: H, W = 360, 640 the frame; h, w an object's box; M = 28.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path

import cv2
import numpy as np

from pipeline.records import Instances

DATA = Path(__file__).parents[1] / "tests" / "data" / "tracking"
HEIGHT, WIDTH = 360, 640
SIZE_HW = (HEIGHT, WIDTH)
FPS = 25
SECONDS = 14
LABELS = ("BG", "person", "dog", "cat", "bicycle")
MIN_VISIBLE = 0.25
"""An object with a smaller visible fraction is not part of the ground truth."""


@dataclass(frozen=True)
class Actor:
    """One object: `path` maps a time in seconds to its foot point (x, y) and height, pixels; None: absent."""

    name: str
    class_id: int
    path: Callable[[float], tuple[float, float, float] | None]


@dataclass(frozen=True)
class TrueObject:
    """One object in one frame.

    Attributes:
        id: the actor's number, from 1 on.
        box_xyxy: float (4,), around what is visible, whole pixels.
        mask: bool (h, w), what is visible, inside the box.
        share: visible share of the whole object, 0 … 1.
    """

    id: int
    class_id: int
    box_xyxy: np.ndarray
    mask: np.ndarray
    share: float


@dataclass(frozen=True)
class TrueFrame:
    """All visible objects of one frame."""

    index: int
    pts_s: float
    objects: tuple[TrueObject, ...]


def _while(start_s: float, end_s: float, path: Callable[[float], tuple[float, float, float]]):
    return lambda t: path(t) if start_s <= t <= end_s else None


def _cat(t: float) -> tuple[float, float, float]:
    """Sits, walks out to the right, comes back a second later, sits again."""
    x = 520.0 if t < 4 else 520 + 110 * (t - 4) if t < 6.2 else 762 - 110 * (t - 6.2) if t < 8.4 else 520.0
    return x, 335.0, 70.0


def _meeting(side: int) -> Callable[[float], tuple[float, float, float]]:
    """Walks towards the middle, stands a while partly hidden, and turns back."""
    return lambda t: (200 + side * (18 + 15 * abs(t - 5.5) ** 1.2), 225.0 + 4 * side, 96.0)


ACTORS = (
    Actor("walking", 1, _while(0.4, 14, lambda t: (-40 + 75 * (t - 0.4), 325, 130))),
    Actor("running", 1, _while(0.8, 14, lambda t: (690 - 115 * (t - 0.8), 345, 140))),
    Actor("standing", 1, lambda t: (330 + 5 * sin(1.7 * t), 322, 88)),
    Actor("bicycle", 4, _while(3.5, 14, lambda t: (-90 + 165 * (t - 3.5), 356, 92))),
    Actor("dog", 2, lambda t: (320 + 255 * sin(2 * pi * t / 5.5), 262 + 38 * cos(2 * pi * t / 5.5), 74)),
    Actor("cat", 3, _cat),
    Actor("reaching", 1, _meeting(-1)),
    Actor("leaning", 1, _meeting(1)),
    Actor("skiing", 1, lambda t: (560 - 22 * t, 180 + 11 * t, 48 + 7.5 * t)),
)
"""Drawn by foot point, the lowest in front; of equal ones, the later in this list."""


def true_frames() -> Iterator[TrueFrame]:
    """The ground truth, frame by frame."""
    cut_outs = [cv2.imread(str(DATA / f"{actor.name}.png"), cv2.IMREAD_UNCHANGED)[:, :, 3] for actor in ACTORS]
    for index in range(FPS * SECONDS):
        yield _true_frame(index, cut_outs)


def render(frame: TrueFrame) -> np.ndarray:
    """The image of a frame: uint8 (H, W, 3), BGR."""
    picture = cv2.imread(str(DATA / "background.jpg")).astype(np.float32)
    for number in _back_to_front(frame.pts_s):
        cut_out = cv2.imread(str(DATA / f"{ACTORS[number].name}.png"), cv2.IMREAD_UNCHANGED)
        warped = _place(cut_out, ACTORS[number].path(frame.pts_s))
        alpha = warped[:, :, 3:].astype(np.float32) / 255
        picture += alpha * (warped[:, :, :3] - picture)
    return picture.astype(np.uint8)


def _back_to_front(t: float) -> list[int]:
    present = [number for number, actor in enumerate(ACTORS) if actor.path(t) is not None]
    return sorted(present, key=lambda number: ACTORS[number].path(t)[1])


def _place(cut_out: np.ndarray, place: tuple[float, float, float]) -> np.ndarray:
    x, y, height = place
    scale = height / cut_out.shape[0]
    matrix = np.array([[scale, 0, x - scale * cut_out.shape[1] / 2], [0, scale, y - height]])
    return cv2.warpAffine(cut_out, matrix, (WIDTH, HEIGHT))


def _true_frame(index: int, cut_outs: list[np.ndarray]) -> TrueFrame:
    t = index / FPS
    owner = np.zeros(SIZE_HW, np.uint8)
    whole = {}
    for number in _back_to_front(t):
        inside = _place(cut_outs[number], ACTORS[number].path(t)) >= 128
        height = ACTORS[number].path(t)[2]
        # The whole object, also what lies outside of the frame.
        whole[number + 1] = np.count_nonzero(cut_outs[number] >= 128) * (height / cut_outs[number].shape[0]) ** 2
        owner[inside] = number + 1
    objects = []
    for object_id, area in sorted(whole.items()):
        mask = owner == object_id
        share = np.count_nonzero(mask) / area
        if share < MIN_VISIBLE:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        objects.append(TrueObject(object_id, ACTORS[object_id - 1].class_id, box, part, min(1.0, share)))
    return TrueFrame(index, t, tuple(objects))


@dataclass(frozen=True)
class Noise:
    """Errors of the simulated detector.

    Attributes:
        jitter: standard deviation of a box's center and size, relative to its size.
        missed: fraction of the objects that are missed; four times as large for occluded ones.
        false_positives: mean number in a frame.
        wrong_class: fraction of the objects.
        dropped: fraction of the frames that never reach the detector, besides one streak of half a second.
    """

    jitter: float = 0.03
    missed: float = 0.08
    false_positives: float = 0.15
    wrong_class: float = 0.05
    dropped: float = 0.35


def keep_frames(frames: list[TrueFrame], noise: Noise, rng: np.random.Generator) -> list[TrueFrame]:
    """The frames that reach the detector."""
    kept = [frame for frame in frames if rng.random() >= noise.dropped]
    return [frame for frame in kept if not 9.0 <= frame.pts_s < 9.5]


def detect(frame: TrueFrame, noise: Noise, rng: np.random.Generator) -> Instances:
    """The simulated detections of a frame, best score first."""
    found = [_found(item, noise, rng) for item in frame.objects if rng.random() >= _missed(item, noise)]
    found += [_false_positive(rng) for _ in range(rng.poisson(noise.false_positives))]
    if not found:
        return Instances.empty()
    boxes, classes, scores, masks = zip(*found, strict=True)
    instances = Instances(
        np.array(boxes, np.float32), np.array(classes, np.int32), np.array(scores, np.float32), np.array(masks)
    )
    return instances.select(np.argsort(-instances.scores, kind="stable"))


def _missed(item: TrueObject, noise: Noise) -> float:
    return noise.missed if item.share > 0.6 else min(1.0, 4 * noise.missed)


def _found(item: TrueObject, noise: Noise, rng: np.random.Generator):
    x1, y1, x2, y2 = item.box_xyxy
    scale = np.sqrt((x2 - x1) * (y2 - y1))
    shift = rng.normal(0, noise.jitter * scale, 2)
    grow = rng.normal(0, noise.jitter * scale, 2) / 2
    box = np.array([x1 + shift[0] - grow[0], y1 + shift[1] - grow[1], x2 + shift[0] + grow[0], y2 + shift[1] + grow[1]])
    box = np.clip(box, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    class_id = item.class_id if rng.random() >= noise.wrong_class else 1 + item.class_id % (len(LABELS) - 1)
    score = np.clip(rng.normal(0.62 + 0.36 * item.share, 0.05), 0.35, 0.999)
    return box, class_id, score, _mask_probs(item, box - [*shift, *shift] * np.array(0.5), rng)


def _mask_probs(item: TrueObject, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 (M, M): the object's mask on a box, with a jittering outline."""
    step_x, step_y = (box[2] - box[0]) / 28, (box[3] - box[1]) / 28
    left, top = box[0] - item.box_xyxy[0], box[1] - item.box_xyxy[1]
    matrix = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
    soft = cv2.blur(item.mask.astype(np.float32), (max(1, round(step_x)), max(1, round(step_y))))
    grid = cv2.warpAffine(soft, matrix, (28, 28), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    wobble = cv2.resize(rng.normal(0, 0.15, (9, 9)).astype(np.float32), (28, 28), interpolation=cv2.INTER_CUBIC)
    return np.clip(grid + wobble * (cv2.blur(grid, (5, 5)) > 0.05), 0, 1).astype(np.float32)


def _false_positive(rng: np.random.Generator):
    width, height = rng.uniform(30, 110, 2)
    x, y = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
    box = np.array([x, y, x + width, y + height])
    return box, int(rng.integers(1, len(LABELS))), rng.uniform(0.5, 0.85), np.ones((28, 28), np.float32)
