"""What the model tests share: numbers of the original package, seeded weights, and networks small enough to run in a
second."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from mrcnn.config import Config

ONCE = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow",
    reason="the engines do not depend on the Keras backend: tested under TensorFlow only",
)

HERE = Path(__file__).parent
ORACLE = HERE.parent / "data" / "oracle"


class CocoConfig(Config):
    """What the original's numbers were computed with, at 512."""

    NAME = "coco"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 81
    IMAGE_MAX_DIM = 512
    IMAGE_MIN_DIM = 400


class CocoConfig1024(CocoConfig):
    """The same at the original's default size."""

    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_DIM = 800


class SmallConfig(Config):
    """Narrow and small, on a ResNet-50: builds and runs in a few seconds."""

    NAME = "small"
    BACKBONE = "resnet50"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 2
    IMAGE_MAX_DIM = 128
    IMAGE_MIN_DIM = 96
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    POST_NMS_ROIS_INFERENCE = 60
    DETECTION_MAX_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.0


@pytest.fixture
def pyplot():
    """Matplotlib drawing to memory; figures are closed after the test."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@dataclass(frozen=True)
class OracleCase:
    """One image at one size: the canvas that the original made of it, and what it computed.

    Attributes:
        name: file name without its ending.
        dim: side of the square canvas, pixels.
        image: uint8 (H, W, 3), RGB.
        canvas: uint8 (dim, dim, 3), RGB.
        lines: (scale, offset) from rows of the canvas to rows of the image, then for columns, as the original fitted
            them.
        expected: the arrays that data/oracle/README.md lists.
    """

    name: str
    dim: int
    image: np.ndarray
    canvas: np.ndarray
    lines: tuple[tuple[float, float], tuple[float, float]]
    expected: dict[str, np.ndarray]

    def positions(self, old_count: int, new_count: int) -> np.ndarray:
        """In place of `molding.source_positions`: the original's where the image is resized, exact ones for masks."""
        y1, x1, y2, x2 = self.expected["window"]
        for axis, size in enumerate((y2 - y1, x2 - x1)):
            if (old_count, new_count) == (self.image.shape[axis], size):
                scale, offset = self.lines[axis]
                return scale * np.arange(new_count) + offset
        return (np.arange(new_count) + 0.5) * old_count / new_count - 0.5


@pytest.fixture(scope="module", autouse=True)
def _same_random_weights_every_time(request):
    if uses_keras(request.module):
        import keras

        keras.utils.set_random_seed(8)


def pytest_collection_modifyitems(items):
    """Mark the tests that depend on the Keras backend, found by what their modules import."""
    for item in items:
        if HERE in item.path.parents and uses_keras(item.module) and ONCE.mark not in item.iter_markers("skipif"):
            item.add_marker("keras")


@cache
def uses_keras(module: ModuleType) -> bool:
    """Whether a module of ours has Keras, or a module that has it, among its names."""
    found, left = set(), [module.__name__]
    while left:
        name = left.pop()
        if name.partition(".")[0] == "keras":
            return True
        if name in sys.modules and name not in found and name.startswith(("tests.", "mrcnn.")):
            found.add(name)
            left += map(_origin, vars(sys.modules[name]).values())
    return False


def _origin(value: object) -> str:
    """Name of the module that a value is, or comes from."""
    return value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""


@pytest.fixture(scope="session")
def seeded_weights(tmp_path_factory) -> Path:
    """The seeded stand-in for mask_rcnn_coco.h5 that the original's numbers were computed from."""
    spec = importlib.util.spec_from_file_location("make_weights", ORACLE / "make_weights.py")
    make_weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_weights)
    path = tmp_path_factory.mktemp("weights") / "seeded_r101_coco.h5"
    make_weights.main(path)
    return path


@pytest.fixture(scope="session")
def coco_model(seeded_weights):
    """MaskRCNN with the seeded weights, for 512-pixel canvases."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", CocoConfig(), None)
    model.load_weights(seeded_weights, by_name=True)
    return model


@pytest.fixture(scope="session")
def oracle_layout() -> list:
    """[[layer, [[weight name, shape], ...]], ...] in the order of mask_rcnn_coco.h5."""
    return json.loads((ORACLE / "matterport_r101_coco_layout.json").read_text())


def load_case(name: str, dim: int) -> OracleCase:
    """The recorded numbers of one image at one size."""
    image = cv2.imread(str(ORACLE / "images" / f"{name}.jpg"))[:, :, ::-1]
    with np.load(ORACLE / "expected" / f"{name}_{dim}.npz") as stored:
        expected = dict(stored)
    fitted = json.loads((ORACLE / "resize_coordinates.json").read_text())[f"{name}_{dim}"]
    number = {key: float.fromhex(digits) for key, digits in fitted.items()}
    lines = ((number["scale_y"], number["offset_y"]), (number["scale_x"], number["offset_x"]))
    return OracleCase(name, dim, image, original_canvas(image, dim, expected["window"], lines), lines, expected)


def original_canvas(image: np.ndarray, dim: int, window, lines) -> np.ndarray:
    """The canvas that scikit-image 0.16 made of an image, to the last bit: uint8 (dim, dim, 3).

    It fits the map from output to input pixels numerically, and the rounding errors of that fit (of one LAPACK on one
    processor) decide where an exact whole number is truncated to the one below: 0.5 % of the pixels. So the map is
    recorded.
    """
    y1, x1, y2, x2 = (int(edge) for edge in window)
    pixels = np.ascontiguousarray(image)
    for axis, size in enumerate((y2 - y1, x2 - x1)):
        pixels = _anti_alias(pixels, image.shape[axis] / size, axis)
    (scale_y, offset_y), (scale_x, offset_x) = lines
    padded = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    y = scale_y * np.arange(y2 - y1) + offset_y
    x = scale_x * np.arange(x2 - x1) + offset_x
    dy, dx = (y - np.floor(y))[:, None, None], (x - np.floor(x))[None, :, None]
    top, bottom = (padded[np.intp(edge(y)) + 1] for edge in (np.floor, np.ceil))
    left, right = (np.intp(edge(x)) + 1 for edge in (np.floor, np.ceil))
    upper = (1 - dx) * top[:, left] + dx * top[:, right]
    lower = (1 - dx) * bottom[:, left] + dx * bottom[:, right]
    canvas = np.zeros((dim, dim, 3), np.uint8)
    canvas[y1:y2, x1:x2] = np.clip((1 - dy) * upper + dy * lower, pixels.min(), pixels.max()).astype(np.uint8)
    return canvas


def _anti_alias(pixels: np.ndarray, factor: float, axis: int) -> np.ndarray:
    """A Gaussian of (factor - 1) / 2 along one axis, cut at four sigmas, truncated to uint8; nothing when
    enlarging."""
    sigma = (factor - 1) / 2
    if sigma <= 0:
        return pixels
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    moved = np.moveaxis(pixels, axis, 0).astype(np.float64)
    padded = np.pad(moved, ((radius, radius), (0, 0), (0, 0)))
    rows = len(moved)
    total = padded[radius : radius + rows] * weights[radius]
    for step in range(radius):
        total = (
            total + (padded[step : step + rows] + padded[2 * radius - step : 2 * radius - step + rows]) * weights[step]
        )
    return np.moveaxis(total.astype(np.uint8), 0, axis)


def relative_error(found, expected) -> float:
    """|found - expected| / |expected|, Euclidean norms over all elements."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def pixel_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Overlaps of boxes (N, 4) with (M, 4), y1 x1 y2 x2: float (N, M)."""
    a, b = np.asarray(boxes_a, np.float64)[:, None], np.asarray(boxes_b, np.float64)[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    inner = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    return inner / np.maximum(union, 1e-12)


def match_one_to_one(overlaps: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column), best overlap first, each row and column at most once, with an overlap of `least` or
    more."""
    pairs, rows, columns = [], set(), set()
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        row, column = np.unravel_index(flat, overlaps.shape)
        if overlaps[row, column] < least:
            break
        if row not in rows and column not in columns:
            pairs.append((int(row), int(column)))
            rows.add(row)
            columns.add(column)
    return pairs


def on_tensorflow() -> bool:
    """Whether the tests run under the TensorFlow backend."""
    return os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"


def mask_pixels_outside(result) -> int:
    """How many mask pixels of a result of `detect` lie outside their boxes."""
    outside = 0
    for index, (y1, x1, y2, x2) in enumerate(result["rois"]):
        mask = result["masks"][:, :, index].copy()
        mask[y1:y2, x1:x2] = False
        outside += int(mask.sum())
    return outside
