"""Figures and tables for evaluation: detections against ground truth, regions, precision-recall curves, weights.

Shape letters: H, W image height and width in pixels; N predictions or regions; G ground-truth objects. Boxes are
(y1, x1, y2, x2).
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.matterport.display import (
    add_outlines,
    apply_mask,
    canvas_on,
    display_instances,
    finish,
    finish_canvas,
    pyplot,
    random_colors,
    rectangle,
)
from mrcnn.matterport.metrics import compute_matches, trim_zeros
from mrcnn.matterport.molding import unmold_mask

GREEN, RED = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
DEAD_KERNEL_DEVIATION = 1e-4
"""A kernel whose weights have a smaller standard deviation has learned nothing."""


def display_differences(
    image: NDArray[Any],
    gt_box: NDArray[Any],
    gt_class_id: NDArray[Any],
    gt_mask: NDArray[Any],
    pred_box: NDArray[Any],
    pred_class_id: NDArray[Any],
    pred_score: NDArray[Any],
    pred_mask: NDArray[Any],
    class_names: Sequence[str],
    title: str = "",
    ax: Any = None,
    show_mask: bool = True,
    show_box: bool = True,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.5,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show ground truth in green and detections in red with the caption "score / overlap".

    The overlap is the IoU with the matched object, or the highest with any object. For the arguments, see
    `mrcnn.matterport.metrics.compute_matches` and `mrcnn.matterport.display.display_instances`.
    """
    _, pred_match, overlaps = compute_matches(
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_threshold, score_threshold
    )
    gt_count, pred_count = len(trim_zeros(gt_box)), len(trim_zeros(pred_box))
    order = np.argsort(pred_score[:pred_count])[::-1]  # the order of compute_matches
    best = [row[int(j)] if j > -1 else row.max(initial=0) for row, j in zip(overlaps, pred_match, strict=True)]
    captions = [""] * gt_count
    captions += [f"{score:.2f} / {overlap:.2f}" for score, overlap in zip(pred_score[order], best, strict=True)]
    display_instances(
        image,
        np.concatenate([gt_box[:gt_count], pred_box[order]]),
        np.concatenate([gt_mask[..., :gt_count], pred_mask[..., order]], axis=-1),
        np.concatenate([gt_class_id[:gt_count], pred_class_id[order]]),
        class_names,
        title=title or "Ground Truth and Detections\n GT=green, pred=red, captions: score/IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[GREEN] * gt_count + [RED] * pred_count,
        captions=captions,
        save_to=save_to,
    )


def draw_rois(
    image: NDArray[Any],
    rois: NDArray[Any],
    refined_rois: NDArray[Any],
    mask: NDArray[Any],
    class_ids: NDArray[Any],
    class_names: Sequence[str],
    limit: int = 10,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show a random sample of regions (dotted), the refined boxes connected to them, and the masks.

    Args:
        image: (H, W, 3), 0 … 255, RGB.
        rois: int (N, 4), pixels.
        refined_rois: int (N, 4), pixels, refined by the box head.
        mask: (N, h, w), box-local mask of each refined box.
        class_ids: (N,), 0 for background.
        class_names: names by class id.
        limit: how many regions to show.
        save_to: write the figure to this file instead of showing it.
    """
    chosen = np.random.default_rng().permutation(len(rois))[:limit]
    masks = np.zeros((*image.shape[:2], len(chosen)), bool)
    for column, i in enumerate(chosen):
        if class_ids[i]:
            small = np.asarray(mask[i], np.float32)
            masks[..., column] = unmold_mask(small, refined_rois[i][:4], image.shape)
    is_object = np.asarray(class_ids)[chosen] > 0
    captions = [class_names[class_ids[i]] if class_ids[i] else "" for i in chosen]
    positive = int(np.count_nonzero(class_ids))
    print("Positive ROIs: ", positive)
    print("Negative ROIs: ", len(class_ids) - positive)
    print(f"Positive Ratio: {positive / max(len(class_ids), 1):.2f}")
    title = f"Showing {len(chosen)} random ROIs out of {len(rois)}"
    refined = refined_rois[chosen] * is_object[:, None]
    draw_boxes(image, rois[chosen], refined, masks, captions, is_object.astype(int), title, save_to=save_to)


def draw_boxes(
    image: NDArray[Any],
    boxes: NDArray[Any] | None = None,
    refined_boxes: NDArray[Any] | None = None,
    masks: NDArray[Any] | None = None,
    captions: Sequence[str] | None = None,
    visibilities: Sequence[int] | NDArray[Any] | None = None,
    title: str = "",
    ax: Any = None,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Show boxes, their refinements, masks and captions, each of which is optional.

    Args:
        image: (H, W, 3), 0 … 255, RGB.
        boxes: (N, 4), pixels.
        refined_boxes: (N, 4) or fewer rows, pixels, connected to the first of `boxes` by lines. In both, boxes that
            are all zeros are skipped.
        masks: (H, W, N), bool or 0 and 1.
        captions: one per box.
        visibilities: (N,), 0: gray and translucent, 1: colored and dotted, 2: colored and solid. None: all 1.
        title: title of the figure.
        ax: Matplotlib axes to draw on; if None, a new figure is created and shown.
        save_to: write the figure to this file instead of showing it.

    Raises:
        ValueError: boxes and refined_boxes are both None.
    """
    shown = boxes if boxes is not None else refined_boxes
    if shown is None:
        raise ValueError("draw_boxes needs boxes or refined_boxes, got neither")
    own, ax, canvas = canvas_on(ax, image, title, (12, 12))
    styles = {0: ("gray", "dotted", 0.5), 1: (None, "dotted", 1.0), 2: (None, "solid", 1.0)}
    for i, own_color in enumerate(random_colors(len(shown))):
        gray, linestyle, alpha = styles[1 if visibilities is None else int(visibilities[i])]
        color = gray or own_color
        corners = []
        if boxes is not None and np.any(boxes[i]):
            ax.add_patch(rectangle(boxes[i], color, linewidth=2, alpha=alpha, linestyle=linestyle))
            corners.append(boxes[i][:2])
        if refined_boxes is not None and i < len(refined_boxes) and np.any(refined_boxes[i]):
            ax.add_patch(rectangle(refined_boxes[i], color, linewidth=2))
            corners.append(refined_boxes[i][:2])
        if len(corners) == 2:
            ax.plot([corners[0][1], corners[1][1]], [corners[0][0], corners[1][0]], color=color)
        if captions is not None and captions[i] and corners:
            ax.text(corners[-1][1], corners[-1][0], captions[i], size=11, va="top", color="w", backgroundcolor="none")
        if masks is not None:
            apply_mask(canvas, masks[:, :, i], (0.5, 0.5, 0.5) if gray else own_color)
            add_outlines(ax, masks[:, :, i], color)
    finish_canvas(own, ax, canvas, save_to)


def plot_precision_recall(
    AP: float,
    precisions: Sequence[float] | NDArray[Any],
    recalls: Sequence[float] | NDArray[Any],
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Plot a curve from `mrcnn.matterport.metrics.compute_ap`; without `save_to`, the caller shows the figure."""
    figure, ax = pyplot().subplots(1)
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.set_ylim(0, 1.1)
    ax.set_xlim(0, 1.1)
    ax.plot(recalls, precisions)
    if save_to is not None:
        finish(figure, save_to)


def plot_overlaps(
    gt_class_ids: Sequence[int] | NDArray[Any],
    pred_class_ids: Sequence[int] | NDArray[Any],
    pred_scores: Sequence[float] | NDArray[Any],
    overlaps: NDArray[Any],
    class_names: Sequence[str],
    threshold: float = 0.5,
    save_to: str | os.PathLike[str] | None = None,
) -> None:
    """Plot overlaps as a grid with one row per prediction and one column per ground-truth object.

    Args:
        gt_class_ids: (G,), zero padding is ignored.
        pred_class_ids: (N,), zero padding is ignored.
        pred_scores: (N,).
        overlaps: (N, G), intersection over union, from `mrcnn.matterport.metrics.compute_matches`.
        class_names: names by class id.
        threshold: overlaps above it are labeled "match" or, for another class, "wrong".
        save_to: write the figure to this file; without it, the caller shows the figure.
    """
    gt_class_ids = [i for i in gt_class_ids if i]
    pred_class_ids = [i for i in pred_class_ids if i]
    figure, ax = pyplot().subplots(1, figsize=(12, 10))
    ax.imshow(overlaps, interpolation="nearest", cmap="Blues", aspect="auto")
    pred_names = [f"{class_names[k]} ({pred_scores[i]:.2f})" for i, k in enumerate(pred_class_ids)]
    ax.set_yticks(np.arange(len(pred_class_ids)), pred_names)
    ax.set_xticks(np.arange(len(gt_class_ids)), [class_names[k] for k in gt_class_ids], rotation=90)
    for i, j in np.ndindex(len(pred_class_ids), len(gt_class_ids)):
        verdict = ""
        if overlaps[i, j] > threshold:
            verdict = "match" if gt_class_ids[j] == pred_class_ids[i] else "wrong"
        color = "white" if overlaps[i, j] > overlaps.max() / 2 else "black"
        ax.text(j, i, f"{overlaps[i, j]:.3f}\n{verdict}", ha="center", va="center", fontsize=9, color=color)
    ax.set_xlabel("Ground Truth")
    ax.set_ylabel("Predictions")
    figure.tight_layout()
    if save_to is not None:
        finish(figure, save_to)


def display_table(table: Sequence[Sequence[Any]]) -> None:
    """Show a table, as HTML in a notebook and as text elsewhere."""
    shell = _notebook_shell()
    if shell is None:
        for row in table:
            print("".join(f"{cell!s:<40}" for cell in row).rstrip())
        return
    from IPython.display import HTML, display

    rows = ("".join(f"<td>{html.escape(str(cell)):40}</td>" for cell in row) for row in table)
    display(HTML("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"))


def display_weight_stats(model: Any) -> None:
    """Show name, shape, minimum, maximum and standard deviation of all trainable weights, and flag dead kernels.

    Args:
        model: a Keras model, or an object with the attribute `keras_model`.
    """
    table: list[list[Any]] = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD"]]
    for layer in _weighted_layers(getattr(model, "keras_model", model)):
        for weight in layer.trainable_weights:
            values = np.asarray(weight)
            dead = values.ndim > 1 and values.std() < DEAD_KERNEL_DEVIATION
            note = " *** dead?" if dead else ""
            numbers = [f"{values.min():+10.4f}", f"{values.max():+10.4f}", f"{values.std():+10.4f}"]
            table.append([f"{layer.name}/{weight.name}{note}", str(values.shape), *numbers])
    display_table(table)


def _weighted_layers(model: Any) -> Iterator[Any]:
    """Layers that have weights, including those of nested models."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _weighted_layers(layer)
        elif layer.weights:
            yield layer


def _notebook_shell() -> Any:
    """IPython's shell, None outside of IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
