"""The one file that may hand work to a backend's own op, where that op gives the same result faster.

Everything here has a version in `keras.ops` that runs on every backend, and tests compare the two. Letters: N boxes,
R regions, C channels.
"""

from __future__ import annotations

import importlib.util

import keras
from keras import ops

from mrcnn.network.box_coding import box_areas, iou_matrix
from mrcnn.network.suppression import DEAD, greedy_nms, parallel_nms
from mrcnn.network.target import Target, target


def non_max_suppression(boxes, scores, max_output: int, iou_threshold: float):
    """Greedy non-maximum suppression: the best score is kept, boxes that overlap it by more than the threshold go.

    Args:
        boxes: float32 (N, 4), (y1, x1, y2, x2), any order of scores.
        scores: float32 (N,), 0 … 1; `DEAD` for boxes that may neither be kept nor suppress others.
        max_output: how many are kept at most.
        iou_threshold: 0 … 1.

    Returns:
        indices: int32 (max_output,), best score first, 0 from `count` on.
        count: int32 ().
    """
    backend = keras.backend.backend()
    if backend == "torch" and importlib.util.find_spec("torchvision") is not None:
        return _torchvision_nms(boxes, scores, max_output, iou_threshold)
    if target() is Target.ACCELERATOR:
        return parallel_nms(boxes, scores, max_output, iou_threshold)
    if backend == "tensorflow":
        return _tensorflow_nms(boxes, scores, max_output, iou_threshold)
    return greedy_nms(boxes, scores, max_output, iou_threshold)


def class_wise_nms(boxes, scores, class_ids, max_output: int, iou_threshold: float):
    """Non-maximum suppression among boxes of the same class, best max_output of all classes together.

    A box without area that is kept ends its class: nothing of lower score follows. TensorFlow 1's op did so (it
    answered with that box again and again), and regions in the canvas' padding, cut to such boxes, would crowd out
    all others.

    Args:
        boxes: float32 (N, 4).
        scores: float32 (N,); `DEAD` for boxes that may not be kept.
        class_ids: int32 (N,).
        max_output: how many are kept at most.
        iou_threshold: 0 … 1.

    Returns:
        indices int32 (max_output,), best score first, 0 from count on; count int32 ().
    """
    if target() is Target.ACCELERATOR:
        return parallel_nms(boxes, scores, max_output, iou_threshold, class_ids)
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_class_wise_nms(boxes, scores, class_ids, max_output, iou_threshold)
    return greedy_nms(boxes, scores, max_output, iou_threshold, class_ids)


def crop_levels(feature_maps, boxes, image_indices, levels, pool_size: int):
    """Sample each region bilinearly from its pyramid level, on a grid whose corners are the box's corners.

    The values are those of tf.image.crop_and_resize: sample i of n along y lies at cell
    (y1 + (y2 - y1) * i / (n - 1)) * (h - 1) of the level, and 0 is taken where that is outside the level.

    Args:
        feature_maps: levels of shape (B, h, w, C), finest first.
        boxes: float32 (R, 4), normalized (y1, x1, y2, x2).
        image_indices: int32 (R,), which image of the batch.
        levels: int32 (R,), index into feature_maps.
        pool_size: n.

    Returns:
        (R, pool_size, pool_size, C), of the feature maps' dtype; half precision is blended in float32.
    """
    if keras.backend.backend() == "tensorflow" and target() is Target.PROCESSOR:
        return _tensorflow_crop_levels(feature_maps, boxes, image_indices, levels, pool_size)
    return gather_levels(feature_maps, boxes, image_indices, levels, pool_size)


def gather_levels(feature_maps, boxes, image_indices, levels, pool_size):
    """`crop_levels` on every backend: all levels as one table of cells, of which each sample gathers four."""
    channels = feature_maps[0].shape[-1]
    dtype = feature_maps[0].dtype
    table = ops.concatenate([ops.reshape(level, (-1, channels)) for level in feature_maps], axis=0)
    heights = [level.shape[1] for level in feature_maps]
    widths = [level.shape[2] for level in feature_maps]
    starts = [0]
    for level in feature_maps[:-1]:
        starts.append(starts[-1] + level.shape[0] * level.shape[1] * level.shape[2])
    height, width, start = (ops.take(ops.convert_to_tensor(v, "int32"), levels) for v in (heights, widths, starts))
    start = start + image_indices * height * width

    row, row_weight, row_inside, next_row = _sample_axis(boxes[:, 0], boxes[:, 2], height, pool_size)
    column, column_weight, column_inside, next_column = _sample_axis(boxes[:, 1], boxes[:, 3], width, pool_size)

    def cells(rows, columns):
        flat = start[:, None, None] + rows[:, :, None] * width[:, None, None] + columns[:, None, :]
        return ops.cast(ops.take(table, flat, axis=0), "float32")

    weight_x, weight_y = column_weight[:, None, :, None], row_weight[:, :, None, None]
    top = cells(row, column) * (1 - weight_x) + cells(row, next_column) * weight_x
    bottom = cells(next_row, column) * (1 - weight_x) + cells(next_row, next_column) * weight_x
    inside = ops.logical_and(row_inside[:, :, None], column_inside[:, None, :])[..., None]
    return ops.cast(ops.where(inside, top * (1 - weight_y) + bottom * weight_y, 0.0), dtype)


def _sample_axis(low, high, cells, samples):
    """Where samples along one axis fall.

    Returns, each (R, samples): the cell before the sample, the weight of the cell after it, inside or not, the cell
    after it.
    """
    last = ops.cast(cells - 1, "float32")[:, None]
    if samples > 1:
        # Every step rounded as the op does it: a box that ends at the canvas' edge has its last sample exactly there,
        # or one rounding error outside, where it counts as 0.
        exact = _exact_arithmetic(cells[:, None])
        step = exact((high - low)[:, None] * last) / exact(ops.full_like(last, samples - 1))
        position = exact(low[:, None] * last) + exact(ops.arange(samples, dtype="float32")[None, :] * exact(step))
    else:
        position = 0.5 * (low + high)[:, None] * last
    inside = ops.logical_and(position >= 0.0, position <= last)
    clipped = ops.minimum(ops.maximum(position, 0.0), last)
    first = ops.floor(clipped)
    following = ops.minimum(first + 1.0, last)
    return ops.cast(first, "int32"), clipped - first, inside, ops.cast(following, "int32")


def _exact_arithmetic(counts):
    """A function that keeps float32 intermediates as IEEE rounds them, where a compiler would contract or rewrite
    them.

    XLA makes a fused multiply-add of a product and a sum, and a multiplication of a division by a constant. Adding an
    integer that only we know to be 0 to the bits of a value hides it from both.

    Args:
        counts: int32, 1 or more, of a shape that broadcasts to the values'.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return lambda values: values
    if backend == "jax":
        from jax.lax import bitcast_convert_type as bitcast
    else:
        from tensorflow import bitcast

    zero = ops.minimum(counts, 1) - 1
    return lambda values: bitcast(bitcast(values, "int32") + zero, "float32")


def _tensorflow_nms(boxes, scores, max_output, iou_threshold):
    import tensorflow as tf

    indices, count = tf.image.non_max_suppression_padded(
        boxes, scores, max_output, iou_threshold, score_threshold=DEAD / 2, pad_to_max_output_size=True
    )
    return indices, count


def _tensorflow_class_wise_nms(boxes, scores, class_ids, max_output, iou_threshold):
    import tensorflow as tf

    # Few regions are live after the score threshold, so that all their overlaps are a small matrix.
    live = tf.cast(tf.where(scores >= 0.0)[:, 0], tf.int32)
    live_boxes, live_ids = tf.gather(boxes, live), tf.gather(class_ids, live)
    live_scores = tf.gather(scores, live)
    is_empty = box_areas(live_boxes) <= 0.0
    is_better = live_scores[:, None] >= live_scores[None, :]
    ends_class = tf.where(is_better, is_empty[:, None], is_empty[None, :])
    overlaps = tf.where(ends_class, 1.0, iou_matrix(live_boxes, live_boxes))
    overlaps = tf.where(live_ids[:, None] == live_ids[None, :], overlaps, 0.0)
    chosen = tf.image.non_max_suppression_overlaps(overlaps, live_scores, max_output, iou_threshold)
    count = tf.shape(chosen)[0]
    indices = tf.pad(tf.gather(live, chosen), [[0, max_output - count]])
    return tf.ensure_shape(indices, (max_output,)), count


def _torchvision_nms(boxes, scores, max_output, iou_threshold):
    import torch
    import torchvision

    live = torch.nonzero(scores >= 0.0)[:, 0]
    chosen = live[torchvision.ops.nms(boxes[live][:, [1, 0, 3, 2]], scores[live], iou_threshold)][:max_output]
    indices = torch.zeros(max_output, dtype=torch.int32, device=boxes.device)
    indices[: len(chosen)] = chosen.to(torch.int32)
    return indices, torch.tensor(len(chosen), dtype=torch.int32, device=boxes.device)


def _tensorflow_crop_levels(feature_maps, boxes, image_indices, levels, pool_size):
    import tensorflow as tf

    pooled, places = [], []
    for index, level in enumerate(feature_maps):
        place = tf.where(levels == index)[:, 0]
        places.append(place)
        cells = tf.cast(level, tf.float32) if level.dtype == tf.bfloat16 else level  # the op knows no bfloat16
        crops = tf.image.crop_and_resize(
            cells, tf.gather(boxes, place), tf.gather(image_indices, place), (pool_size, pool_size)
        )
        pooled.append(tf.cast(crops, level.dtype))  # the op answers in float32
    order = tf.argsort(tf.concat(places, axis=0))
    crops = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.ensure_shape(crops, (boxes.shape[0], pool_size, pool_size, feature_maps[0].shape[-1]))
