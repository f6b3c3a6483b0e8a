"""The files of a run: its log, its checkpoints, weight files of half the size, and plots, which need no display."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import keras
import numpy as np

from mrcnn.training.annotated_images import AnnotatedImage
from mrcnn.training.data import ImageCache, UnreadableImageError
from mrcnn.training.training_model import LOSS_NAMES
from mrcnn.training.validation import Detection
from mrcnn.weights.hdf5 import METADATA_ATTRIBUTE
from mrcnn.weights.whole_file import whole_file, write_whole


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line. Raises OSError if it cannot be written."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All complete lines; [] if there is no log. Skips a line that a power cut truncated."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def truncate_log(path: Path, step: int) -> None:
    """Remove the lines of steps after `step`, which a resumed run repeats.

    Raises:
        OSError: it cannot be written; the log is as before.
    """
    lines = read_log(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) == len(lines):
        return
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))


def save_checkpoint(path: Path, variables: Sequence[keras.Variable], state: dict[str, Any]) -> None:
    """Write a checkpoint; an older one at `path` survives until the new one is complete.

    Args:
        path: the .npz.
        variables: all variables of the run, in a fixed order.
        state: the step and the settings, serializable as JSON.

    Raises:
        OSError: the file cannot be written (disk full, no permission); `path` is unchanged.
    """
    arrays = {f"v{index}": np.asarray(keras.ops.convert_to_numpy(variable)) for index, variable in enumerate(variables)}
    with whole_file(path) as file:
        np.savez(file, state=np.array(json.dumps(state)), **arrays)


def load_checkpoint(
    path: Path, variables: Sequence[keras.Variable], expected: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Set the variables from a checkpoint and return its state.

    Args:
        path: the .npz.
        variables: those of `save_checkpoint`.
        expected: parts of the state ("settings": {...}) that must be equal.

    Raises:
        ValueError: the file is not a checkpoint, or of a run with other settings, which are named.
    """
    try:
        with path.open("rb") as handle, np.load(handle) as file:
            state = json.loads(str(file["state"]))
            arrays = [file[f"v{index}"] for index in range(len(file.files) - 1)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable checkpoint of a training run: {error}") from None
    differing = [
        f"{name} was {state[part][name]}, is {value}"
        for part, settings in json.loads(json.dumps(expected or {})).items()
        for name, value in settings.items()
        if name in state.get(part, {}) and state[part][name] != value
    ]
    if differing:
        raise ValueError(f"{path} belongs to a run with other settings: {'; '.join(differing)}")
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [array.shape for array in arrays]:
        raise ValueError(
            f"{path} belongs to a run with other settings (it has {len(arrays)} arrays, this run {len(shapes)})"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return state


def write_compact(
    source: Path,
    target: Path,
    metadata: Mapping[str, Any] | None = None,
    change: Callable[[h5py.File], None] = lambda _: None,
) -> None:
    """Copy a weight file with kernels as float16; an existing target is replaced when the copy is complete.

    Args:
        source: a weight file of ours or of Matterport's.
        target: may be the same file.
        metadata: settings and names that replace the source's; None keeps them.
        change: may edit the copy before it is written.

    Raises:
        OSError: it cannot be written; `target` is unchanged.
    """

    def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            # statistics of the normalizations can exceed what float16 holds
            kind = np.float16 if item.ndim > 1 else np.float32
            result.create_dataset(name, data=item[()].astype(kind))
        else:
            result.require_group(name).attrs.update(item.attrs)

    # in memory, as in mrcnn.weights.load_save: on a full disk HDF5 crashes the process
    with h5py.File(source) as original, h5py.File("compact.h5", "w", driver="core", backing_store=False) as result:
        result.attrs.update(original.attrs)
        if metadata is not None:
            result.attrs[METADATA_ATTRIBUTE] = json.dumps(metadata)
        original.visititems(copy)
        change(result)
        result.flush()
        content = result.id.get_file_image()
    write_whole(target, content)


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
    names = [name for name in ("loss", *LOSS_NAMES) if any(name in line for line in lines)]
    curves = {name.replace("_", " "): {name: "training", f"val_{name}": "validation"} for name in names}
    curves["mask AP50 (validation)"] = {"mask_ap50": "validation"}
    columns = -(-len(curves) // 2)
    axes = figure.subplots(2, columns, squeeze=False).ravel()
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    for axis, (title, keys) in zip(axes, curves.items(), strict=False):
        for key, label in keys.items():
            points = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        axis.set(title=title, ylim=(0, 1 if title == "mask AP50 (validation)" else None))
        axis.grid(alpha=0.3)
    if axes[0].lines:
        axes[0].legend()
    for axis in axes[columns:]:
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
