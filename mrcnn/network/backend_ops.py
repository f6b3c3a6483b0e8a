"""Dispatches to native ops of a backend where they give the same result faster.

Every function has an implementation in `keras.ops` that runs on every backend, and tests compare the two. Shape
letters: N boxes; R regions; C channels.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import keras
from keras import ops

from mrcnn.network.box_coding import box_areas, iou_matrix
from mrcnn.network.suppression import DEAD, greedy_nms, parallel_nms
from mrcnn.network.target import Target, target


def non_max_suppression(boxes, scores, max_output: int, iou_threshold: float):
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 (N, 4), (y1, x1, y2, x2), in any order.
        scores: float32 (N,), 0 or more; `DEAD` for boxes that must neither be kept nor suppress others.
        max_output: maximum number of boxes to keep.
        iou_threshold: 0 … 1; a kept box suppresses boxes of lower score that overlap it by more.

    Returns:
        indices: int32 (max_output,), highest score first, zero-padded.
        count: int32 (), number of kept boxes.
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
    """Greedy non-maximum suppression among boxes of the same class.

    A kept box without area suppresses all boxes of its class with lower scores. TensorFlow 1's op had the same effect
    (it returned that box repeatedly), and otherwise regions in the canvas' padding, which are clipped to such boxes,
    would displace all others.

    Args:
        boxes: float32 (N, 4), (y1, x1, y2, x2).
        scores: float32 (N,), 0 … 1; `DEAD` for boxes that must not be kept.
        class_ids: int32 (N,).
        max_output: maximum number of boxes to keep, over all classes.
        iou_threshold: 0 … 1.

    Returns:
        indices: int32 (max_output,), highest score first, zero-padded.
        count: int32 (), number of kept boxes.
    """
    if target() is Target.ACCELERATOR:
        return parallel_nms(boxes, scores, max_output, iou_threshold, class_ids)
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_class_wise_nms(boxes, scores, class_ids, max_output, iou_threshold)
    return greedy_nms(boxes, scores, max_output, iou_threshold, class_ids)


def level_sampler(feature_maps):
    """A function that samples regions bilinearly from their pyramid levels, on grids whose corners are the boxes'.

    The values are those of tf.image.crop_and_resize: sample i of n along y lies at cell
    (y1 + (y2 - y1) * i / (n - 1)) * (h - 1) of the level; samples outside the level are 0.

    Args:
        feature_maps: levels of shape (B, h, w, C), finest first.

    Returns:
        A function of
            boxes: float32 (R, 4), (y1, x1, y2, x2); 0 and 1 are the first and the last cell.
            image_indices: int32 (R,), index into the batch.
            levels: int32 (R,), index into feature_maps.
            grid_size: n.
        that returns (R, n, n, C), with the feature maps' dtype; half precision is interpolated in float32.
    """
    if keras.backend.backend() == "tensorflow" and target() is Target.PROCESSOR:
        return partial(_tensorflow_crop_levels, feature_maps)
    return gathering_sampler(feature_maps)


def gathering_sampler(feature_maps):
    """Compute `level_sampler` on every backend: each sample gathers four cells from one table of all levels' cells."""
    channels = feature_maps[0].shape[-1]
    dtype = feature_maps[0].dtype
    table = ops.concatenate([ops.reshape(level, (-1, channels)) for level in feature_maps], axis=0)
    all_heights = [level.shape[1] for level in feature_maps]
    all_widths = [level.shape[2] for level in feature_maps]
    starts = [0]
    for level in feature_maps[:-1]:
        starts.append(starts[-1] + level.shape[0] * level.shape[1] * level.shape[2])

    def sample(boxes, image_indices, levels, grid_size):
        height, width, start = (
            ops.take(ops.convert_to_tensor(values, "int32"), levels) for values in (all_heights, all_widths, starts)
        )
        start = start + image_indices * height * width
        row, row_weight, row_inside, next_row = _sample_axis(boxes[:, 0], boxes[:, 2], height, grid_size)
        column, column_weight, column_inside, next_column = _sample_axis(boxes[:, 1], boxes[:, 3], width, grid_size)

        def cells(rows, columns):
            flat = start[:, None, None] + rows[:, :, None] * width[:, None, None] + columns[:, None, :]
            return ops.cast(ops.take(table, flat, axis=0), "float32")

        weight_x, weight_y = column_weight[:, None, :, None], row_weight[:, :, None, None]
        top = cells(row, column) * (1 - weight_x) + cells(row, next_column) * weight_x
        bottom = cells(next_row, column) * (1 - weight_x) + cells(next_row, next_column) * weight_x
        inside = ops.logical_and(row_inside[:, :, None], column_inside[:, None, :])[..., None]
        return ops.cast(ops.where(inside, top * (1 - weight_y) + bottom * weight_y, 0.0), dtype)

    return sample


def _sample_axis(low, high, cells, samples):
    """Sample positions along one axis.

    Returns:
        Each (R, samples): the cell before the sample, the weight of the cell after it, whether the sample is inside,
        and the cell after it.
    """
    last = ops.cast(cells - 1, "float32")[:, None]
    if samples > 1:
        # Every step is rounded as in the op: the last sample of a box that ends at the canvas' edge lies exactly there,
        # or one rounding error outside, where it is 0.
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
    """A function that keeps a compiler from contracting or rewriting float32 intermediates, which stay IEEE-rounded.

    XLA turns a product and a sum into a fused multiply-add, and a division by a constant into a multiplication. Adding
    an integer that is always 0, which XLA cannot derive, to the bits of a value prevents both.

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

    # Few regions pass the score threshold, so the matrix of their overlaps is small.
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


def _tensorflow_crop_levels(feature_maps, boxes, image_indices, levels, grid_size):
    import tensorflow as tf

    pooled, regions = [], []
    for index, level in enumerate(feature_maps):
        at_level = tf.where(levels == index)[:, 0]
        regions.append(at_level)
        cells = tf.cast(level, tf.float32) if level.dtype == tf.bfloat16 else level  # the op has no bfloat16
        crops = tf.image.crop_and_resize(
            cells, tf.gather(boxes, at_level), tf.gather(image_indices, at_level), (grid_size, grid_size)
        )
        pooled.append(tf.cast(crops, level.dtype))  # the op returns float32
    order = tf.argsort(tf.concat(regions, axis=0))
    crops = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.ensure_shape(crops, (boxes.shape[0], grid_size, grid_size, feature_maps[0].shape[-1]))
