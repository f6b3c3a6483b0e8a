"""Non-maximum suppression in `keras.ops`, for every backend: sequential, and in parallel on the matrix of all overlaps.

Shape letters: N boxes.
"""

from __future__ import annotations

from keras import ops

from mrcnn.network.box_coding import box_areas, iou_matrix

DEAD = -1.0
"""Score of a box that must not be kept; valid scores are 0 or more."""


def greedy_nms(boxes, scores, max_output, iou_threshold, class_ids=None):
    """Compute `backend_ops.non_max_suppression` in a loop of at most max_output iterations over N boxes.

    Args:
        boxes, scores, max_output, iou_threshold: see `backend_ops.non_max_suppression`.
        class_ids: int32 (N,); if given, boxes suppress only boxes of their class, see `backend_ops.class_wise_nms`.
    """
    is_empty = box_areas(boxes) <= 0.0
    slots = ops.arange(max_output, dtype="int32")

    def is_live(indices, count, live_scores):
        return ops.logical_and(count < max_output, ops.max(live_scores) >= 0.0)

    def keep_best(indices, count, live_scores):
        best = ops.cast(ops.argmax(live_scores), "int32")
        suppressed = iou_matrix(ops.take(boxes, best, axis=0)[None], boxes)[0] > iou_threshold
        if class_ids is not None:
            suppressed = ops.logical_or(suppressed, ops.take(is_empty, best))
            suppressed = ops.logical_and(suppressed, class_ids == ops.take(class_ids, best))
        suppressed = ops.logical_or(suppressed, ops.arange(boxes.shape[0], dtype="int32") == best)
        return ops.where(slots == count, best, indices), count + 1, ops.where(suppressed, DEAD, live_scores)

    start = (ops.zeros((max_output,), "int32"), ops.zeros((), "int32"), scores)
    indices, count, _ = ops.while_loop(is_live, keep_best, start)
    return indices, count


def parallel_nms(boxes, scores, max_output, iou_threshold, class_ids=None):
    """Compute the result of `greedy_nms` from an N x N matrix of overlaps in a few iterations, for accelerators.

    A box is kept if no kept box of higher score suppresses it. Starting with all boxes kept, each iteration settles
    at least one more link of every chain of overlaps; once nothing changes, the result is that of `greedy_nms`.

    Args:
        boxes, scores, max_output, iou_threshold, class_ids: see `greedy_nms`.
    """
    count_in = boxes.shape[0]
    sorted_scores, order = ops.top_k(scores, count_in)
    order = ops.cast(order, "int32")
    sorted_boxes = ops.take(boxes, order, axis=0)
    live = sorted_scores >= 0.0
    rank = ops.arange(count_in, dtype="int32")
    suppresses = iou_matrix(sorted_boxes, sorted_boxes) > iou_threshold  # [better, worse]
    if class_ids is not None:
        sorted_ids = ops.take(class_ids, order, axis=0)
        suppresses = ops.logical_or(suppresses, (box_areas(sorted_boxes) <= 0.0)[:, None])
        suppresses = ops.logical_and(suppresses, sorted_ids[:, None] == sorted_ids[None, :])
    suppresses = ops.logical_and(suppresses, rank[:, None] < rank[None, :])

    def has_changed(kept, before):
        return ops.any(kept != before)

    def settle(kept, before):
        is_hit = ops.any(ops.logical_and(kept[:, None], suppresses), axis=0)
        return ops.logical_and(live, ops.logical_not(is_hit)), kept

    kept, _ = ops.while_loop(has_changed, settle, (live, ops.logical_not(live)))
    # ranks of the kept boxes in order; the others sort behind
    ranks = ops.sort(ops.where(kept, rank, count_in))[:max_output]
    count = ops.minimum(ops.sum(ops.cast(kept, "int32")), max_output)
    padded = ops.pad(ranks, [[0, max_output - ranks.shape[0]]], constant_values=0)
    is_slot = ops.arange(max_output, dtype="int32") < count
    return ops.where(is_slot, ops.take(order, ops.where(is_slot, padded, 0)), 0), ops.cast(count, "int32")
