"""Evaluation against ground truth: matches, average precision, recall.

Shape letters: H, W image height and width in pixels; N predictions; G ground-truth objects. Boxes are (y1, x1, y2, x2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.matterport.boxes import compute_overlaps, compute_overlaps_masks


def trim_zeros(x: NDArray[Any]) -> NDArray[Any]:
    """The rows of x (N, K) that are not all zeros: removes zero padding."""
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
    """Match predictions, in descending order of scores, to the ground-truth objects whose masks they overlap most.

    Args:
        gt_boxes: (G, 4), may be zero-padded.
        gt_class_ids: (G,), may be padded.
        gt_masks: (H, W, G), may be padded.
        pred_boxes: (N, 4), may be zero-padded.
        pred_class_ids: (N,), may be padded.
        pred_scores: (N,), may be padded.
        pred_masks: (H, W, N), may be padded.
        iou_threshold: minimum intersection over union of a match.
        score_threshold: another minimum of the overlap (the name is the original's).

    Returns:
        gt_match: (G,), index of the matched prediction, -1 for none.
        pred_match: (N,), index of the matched ground-truth object, -1 for none.
        overlaps: (N, G), intersection over union of the masks.
        In all three, predictions are in descending order of scores.
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
    """Average precision of one image: the area under its monotone precision-recall curve.

    For the arguments, see `compute_matches`.

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
    """Mean of `compute_ap` over several IoU thresholds, by default COCO's 0.5, 0.55 … 0.95."""
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else np.asarray(iou_thresholds)
    objects = (gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask)
    values = [compute_ap(*objects, iou_threshold=threshold)[0] for threshold in thresholds]
    mean = np.mean(values)
    if verbose:
        for threshold, value in zip(thresholds, values, strict=True):
            print(f"AP @{threshold:.2f}:\t {value:.3f}")
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(pred_boxes: NDArray[Any], gt_boxes: NDArray[Any], iou: float) -> tuple[float, NDArray[np.intp]]:
    """Recall of ground-truth boxes.

    Args:
        pred_boxes: (N, 4).
        gt_boxes: (G, 4).
        iou: minimum intersection over union.

    Returns:
        The recall, 0 … 1; indices of the predictions whose highest overlap reaches `iou`.
    """
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    positive = np.flatnonzero(overlaps.max(axis=1) >= iou)
    found = np.unique(overlaps.argmax(axis=1)[positive])
    return len(found) / len(gt_boxes), positive
