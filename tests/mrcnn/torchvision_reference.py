"""What torchvision computed (tests/data/torchvision), and how close to it another implementation must be.

Shape letters: B images; N regions or detections of an image. Boxes are (y1, x1, y2, x2) in pixels of the canvas, in the
reference as well, whose files hold (x1, y1, x2, y2).
"""

from __future__ import annotations

import importlib.util
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from tests.mrcnn.conftest import match_one_to_one, pixel_iou

DATA = Path(__file__).parents[1] / "data" / "torchvision"
IMAGES = DATA.parent / "oracle" / "images"
FLAVORS = ("v1", "v2")
CASES = ("landscape", "portrait", "pair", "mixed", "full")
ENLARGED = "enlarged"
"""A case of which only the input can be compared: OpenCV rounds the resized pixels, torchvision does not."""

LARGEST_DIFFERENCE = 1e-3
"""Of a value, relative to the largest one of its tensor."""

LEAST_IOU = 0.95
LARGEST_SCORE_DIFFERENCE = 0.01
LEAST_MATCHED = 0.97
MOST_EXTRA = 0.03
"""Share of the reference's proposals or detections that must be found, and how many others may be."""

BOX_ORDER = [1, 0, 3, 2]


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one image.

    Attributes:
        boxes: float (N, 4).
        class_ids: int (N,).
        scores: float (N,).
        mask_probs: float (N, 28, 28), 0 … 1, stretched over the box.
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    mask_probs: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """How detections or proposals agree with the reference.

    Attributes:
        expected: number in the reference.
        matched: how many of those were found.
        found: number found.
        least_mask_iou: of those matched pairs that are pooled from the same pyramid level; 1 for proposals.
    """

    expected: int
    matched: int
    found: int
    least_mask_iou: float = 1.0

    def check(self) -> None:
        """Raise AssertionError unless there is enough of the reference, little else, and masks agree."""
        assert self.matched >= LEAST_MATCHED * self.expected, self
        assert self.found - self.matched <= MOST_EXTRA * self.expected, self
        assert self.least_mask_iou >= LEAST_IOU, self


@dataclass(frozen=True, eq=False)
class Reference:
    """A case: what a network gets, and what torchvision's computed.

    Attributes:
        images: uint8 (B, H, W, 3), RGB: the resized photographs at the top left of black canvases.
        windows: int64 (B, 4): the part of each canvas that the photograph covers.
        arrays: as listed in data/torchvision/README.md.
    """

    images: np.ndarray
    windows: np.ndarray
    arrays: dict[str, np.ndarray]

    def difference(self, name: str, values: np.ndarray) -> float:
        """Largest difference of a whole tensor at the recorded positions, relative to its largest value.

        Args:
            name: "p2" … "p6", channels last, "rpn_logits" or "rpn_deltas", of the reference's order.
            values: float32.
        """
        flat = np.ascontiguousarray(values).reshape(-1)
        recorded = self.arrays[f"{name}_sample"].astype(np.float64)
        difference = np.abs(flat[random_weights().sample_positions(flat.size)] - recorded)
        return float(difference.max() / self.arrays[f"{name}_max"])

    def detections(self, index: int) -> Found:
        """What the reference found on an image."""
        boxes, labels, scores, masks = (
            self.arrays[f"{name}_{index}"] for name in ("boxes", "labels", "scores", "mask_probs")
        )
        return Found(boxes[:, BOX_ORDER], labels.astype(np.int64), scores, masks.astype(np.float32))

    def proposals(self, index: int) -> np.ndarray:
        """The reference's proposals on an image: float32 (N, 4)."""
        return self.arrays[f"proposals_{index}"][:, BOX_ORDER]


def compare_proposals(expected: np.ndarray, found: np.ndarray) -> Agreement:
    """Agreement of boxes (N, 4)."""
    return Agreement(len(expected), len(match_one_to_one(pixel_iou(expected, found), LEAST_IOU)), len(found))


def compare_detections(expected: Found, found: Found) -> Agreement:
    """Agreement of detections: pairs have the same class, nearly the same box, and nearly the same score."""
    overlaps = pixel_iou(expected.boxes, found.boxes)
    overlaps[expected.class_ids[:, None] != found.class_ids[None]] = 0
    overlaps[np.abs(expected.scores[:, None] - found.scores[None]) > LARGEST_SCORE_DIFFERENCE] = 0
    pairs = match_one_to_one(overlaps, LEAST_IOU)
    # rounding errors decide the level of a box whose size is at the limit between two
    levels = pooled_levels(expected.boxes), pooled_levels(found.boxes)
    same = [(a, b) for a, b in pairs if levels[0][a] == levels[1][b]]
    ious = [_mask_iou(expected.mask_probs[a], found.mask_probs[b]) for a, b in same]
    return Agreement(len(expected.boxes), len(pairs), len(found.boxes), min(ious, default=1.0))


def pooled_levels(boxes: np.ndarray) -> np.ndarray:
    """Pyramid levels that boxes (N, 4) are pooled from (Lin et al. 2017, equation 1): int64 (N,), 2 … 5."""
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(1))
    return np.clip(np.floor(4 + np.log2(sides / 224) + 1e-6), 2, 5).astype(np.int64)


def _mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a >= 0.5, b >= 0.5
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


@cache
def load_reference(flavor: str, name: str) -> Reference:
    """A case of a flavor, with its canvases put together from the photographs."""
    return _load(f"{flavor}_{name}")


@cache
def load_detectron2_reference() -> Reference:
    """The same of the layers of detectron2, whose class numbers begin with an object's."""
    reference = _load("detectron2")
    reference.arrays["labels_0"] += 1
    return reference


def _load(name: str) -> Reference:
    with np.load(DATA / "expected" / f"{name}.npz") as stored:
        arrays = dict(stored)
    images = np.zeros((len(arrays["images"]), *arrays["canvas"], 3), np.uint8)
    windows = np.zeros((len(images), 4), np.int64)
    for index, (height, width) in enumerate(arrays["sizes"].tolist()):
        pixels = _pixels(str(arrays["images"][index]), *arrays["crops"][index].tolist())
        assert zlib.crc32(pixels.tobytes()) == arrays["images_crc32"][index], "the photograph has other pixels"
        images[index, :height, :width] = cv2.resize(pixels, (width, height))
        windows[index, 2:] = height, width
    return Reference(images, windows, arrays)


def _pixels(name: str, y: int, x: int, height: int, width: int, repeat: int) -> np.ndarray:
    part = cv2.imread(str(IMAGES / f"{name}.jpg"))[y : y + height, x : x + width, ::-1]
    return np.ascontiguousarray(part.repeat(repeat, 0).repeat(repeat, 1))


@cache
def random_weights() -> ModuleType:
    """data/torchvision/random_weights.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("torchvision_random_weights", DATA / "random_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
