"""Plots of a run: loss curves, and predictions beside the ground truth. Needs no display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrcnn.training.annotated_images import AnnotatedImage
from mrcnn.training.data import ImageCache, UnreadableImageError
from mrcnn.training.training_model import LOSS_NAMES
from mrcnn.training.validation import Detection
from mrcnn.weights.whole_file import whole_file, write_whole

CURVES_FILE = "curves.png"
PREDICTIONS_FILE = "predictions.png"

COLORS_RGB = ((230, 60, 60), (60, 130, 230), (60, 180, 75), (245, 160, 30), (150, 70, 200), (30, 190, 190))
"""Of the classes by id, repeating."""

SHOWN_SIDE = 360
"""Pixels: longer side of an image in the picture."""

LABEL_HEIGHT = 18


def draw_curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Training and validation losses and the AP50 over the steps, as a PNG.

    Args:
        path: the file.
        lines: of the log, see `run_files.read_log`.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4).ravel()
    curves = {name.replace("_", " "): {name: "training", f"val_{name}": "validation"} for name in ("loss", *LOSS_NAMES)}
    curves["mask AP50 (validation)"] = {"mask_ap50": "validation"}
    for axis, (title, keys) in zip(axes, curves.items(), strict=True):
        for key, label in keys.items():
            points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        axis.set(title=title, ylim=(0, 1 if title == "mask AP50 (validation)" else None))
        axis.grid(alpha=0.3)
    if axes[0].lines:
        axes[0].legend()
    for axis in axes[4:]:
        axis.set_xlabel("step")
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=90)


def draw_predictions(
    path: Path,
    shown: Sequence[tuple[AnnotatedImage, Sequence[Detection]]],
    class_names: Sequence[str],
    cache: ImageCache,
    min_score: float,
) -> None:
    """Images with their annotations on the left and the detections on the right, as a PNG.

    Args:
        path: the file.
        shown: images with their detections.
        class_names: K names, the background first.
        cache: where the images come from.
        min_score: least score of a detection that is drawn.

    Raises:
        OSError: it cannot be written.
    """
    rows = []
    for image, found in shown:
        try:
            photo = cache.get(image)
        except UnreadableImageError:
            continue
        truth = [(one.class_id, None, one.box, one.mask > 127) for one in image.instances if one.class_id]
        sure = [(one.class_id, one.score, one.box, one.mask) for one in found if one.score >= min_score]
        halves = [_drawn(photo, objects, class_names) for objects in (truth, sure)]
        rows.append(np.concatenate([halves[0], np.full((halves[0].shape[0], 6, 3), 255, np.uint8), halves[1]], axis=1))
    if not rows:
        return
    done, data = cv2.imencode(".png", _sheet(rows)[..., ::-1])
    if not done:
        raise OSError(f"{path} could not be encoded")
    write_whole(path, data.tobytes())


def _drawn(photo: np.ndarray, objects, class_names: Sequence[str]) -> np.ndarray:
    scale = SHOWN_SIDE / max(photo.shape[:2])
    picture = photo.astype(np.float32)
    for class_id, _, (y1, x1, y2, x2), mask in objects:
        picture[y1:y2, x1:x2][mask] = 0.5 * picture[y1:y2, x1:x2][mask] + 0.5 * _color(class_id)
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    drawn = np.ascontiguousarray(cv2.resize(picture.astype(np.uint8), size, interpolation=cv2.INTER_AREA))
    for class_id, score, box, _ in objects:
        y1, x1, y2, x2 = (round(float(value) * scale) for value in box)
        cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), _color(class_id).tolist(), 1)
        text = class_names[class_id] + ("" if score is None else f" {score:.2f}")
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            place = (x1 + 2, y1 + 11)
            cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, color, thickness, cv2.LINE_AA)
    return drawn


def _color(class_id: int) -> np.ndarray:
    return np.array(COLORS_RGB[class_id % len(COLORS_RGB)], np.float32)


def _sheet(rows: list[np.ndarray]) -> np.ndarray:
    """The pairs in two columns, below a legend."""
    width = max(row.shape[1] for row in rows) + 12
    heights = [LABEL_HEIGHT] * min(2, len(rows))
    places = []
    for row in rows:
        column = heights.index(min(heights))
        places.append((heights[column], column * width))
        heights[column] += row.shape[0] + 6
    sheet = np.full((max(heights), width * len(heights), 3), 255, np.uint8)
    for row, (top, left) in zip(rows, places, strict=True):
        sheet[top : top + row.shape[0], left : left + row.shape[1]] = row
    text = "left: annotated; right: found"
    cv2.putText(sheet, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet
