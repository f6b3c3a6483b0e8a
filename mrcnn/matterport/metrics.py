"""How well detections agree with ground truth: matches, average precision, recall.

Shape letters: H, W image height and width in pixels; N predictions; G ground truth objects. Boxes are (y1, x1, y2, x2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.matterport.boxes import compute_overlaps, compute_overlaps_masks


def trim_zeros(x: NDArray[Any]) -> NDArray[Any]:
    """The rows of x (N, K) that hold something else than zeros; padding that was added to reach a fixed size goes."""
    return x[(x != 0).any(axis=1)]


def compute_matches(
    gt_boxes: NDArray[Any],
    gt_class_ids: NDArray[Any],
    gt_masks: NDArray[Any],
    pred_boxes: NDArray[Any],
    pred_class_ids: NDArray[Any],
    pred_scores: NDArray[Any],
    pred_masks: NDArray[Any],
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.floating]]:
    """Pair predictions, best score first, with the ground truth whose mask they overlap most.

    Args:
        gt_boxes: (G, 4) or more rows, the surplus zeros.
        gt_class_ids: (G,) or more.
        gt_masks: (H, W, G) or more.
        pred_boxes: (N, 4) or more rows, the surplus zeros.
        pred_class_ids: (N,) or more.
        pred_scores: (N,) or more.
        pred_masks: (H, W, N) or more.
        iou_threshold: least intersection over union of a pair.
        score_threshold: overlaps below it are not looked at (the name is the original's).

    Returns:
        gt_match: (G,), index of the prediction, -1 where there is none.
        pred_match: (N,), index of the ground truth object, -1 where there is none.
        overlaps: (N, G), intersection over union of the masks.
        Predictions are in the order of their scores in all three.
    """
    gt_count, pred_count = len(trim_zeros(gt_boxes)), len(trim_zeros(pred_boxes))
    order = np.argsort(pred_scores[:pred_count])[::-1]
    overlaps = compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :gt_count])
    gt_match, pred_match = np.full(gt_count, -1.0), np.full(pred_count, -1.0)
    least = max(iou_threshold, score_threshold)
    for i in range(pred_count):
        for j in np.argsort(overlaps[i])[::-1]:
            if gt_match[j] > -1:
                continue
            if overlaps[i, j] < least:
                break
            if pred_class_ids[order[i]] == gt_class_ids[j]:
                gt_match[j], pred_match[i] = i, j
                break
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: NDArray[Any],
    gt_class_ids: NDArray[Any],
    gt_masks: NDArray[Any],
    pred_boxes: NDArray[Any],
    pred_class_ids: NDArray[Any],
    pred_scores: NDArray[Any],
    pred_masks: NDArray[Any],
    iou_threshold: float = 0.5,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.floating]]:
    """Average precision of one image: the area under its precision-recall curve, which is first made monotone.

    The arguments are those of `compute_matches`.

    Returns:
        The average precision, 0 … 1; precisions and recalls (N + 2,), from recall 0 to recall 1; overlaps (N, G).
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold
    )
    hits = np.cumsum(pred_match > -1)
    precisions = np.concatenate([[0], hits / (np.arange(len(pred_match)) + 1), [0]])
    with np.errstate(invalid="ignore"):  # without any ground truth, recall is 0 / 0
        recalls = np.concatenate([[0], hits.astype(np.float32) / len(gt_match), [1]])
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.flatnonzero(recalls[:-1] != recalls[1:]) + 1
    average_precision = np.sum((recalls[steps] - recalls[steps - 1]) * precisions[steps])
    return average_precision, precisions, recalls, overlaps


def compute_ap_range(
    gt_box: NDArray[Any],
    gt_class_id: NDArray[Any],
    gt_mask: NDArray[Any],
    pred_box: NDArray[Any],
    pred_class_id: NDArray[Any],
    pred_score: NDArray[Any],
    pred_mask: NDArray[Any],
    iou_thresholds: Sequence[float] | NDArray[Any] | None = None,
    verbose: int = 1,
) -> float:
    """Mean of `compute_ap` over a range of overlap thresholds, by default COCO's 0.5, 0.55 … 0.95."""
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else np.asarray(iou_thresholds)
    values = []
    for threshold in thresholds:
        value = compute_ap(
            gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_threshold=threshold
        )[0]
        if verbose:
            print(f"AP @{threshold:.2f}:\t {value:.3f}")
        values.append(value)
    mean = np.mean(values)
    if verbose:
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(pred_boxes: NDArray[Any], gt_boxes: NDArray[Any], iou: float) -> tuple[float, NDArray[np.intp]]:
    """How many of the ground truth boxes some prediction covers.

    Args:
        pred_boxes: (N, 4).
        gt_boxes: (G, 4).
        iou: least intersection over union.

    Returns:
        The recall, 0 … 1; indices of the predictions whose best overlap reaches `iou`.
    """
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    positive = np.flatnonzero(overlaps.max(axis=1) >= iou)
    found = np.unique(overlaps.argmax(axis=1)[positive])
    return len(found) / len(gt_boxes), positive
