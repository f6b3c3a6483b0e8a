"""RoIAlign over the pyramid: each region is pooled from the level that matches its size (Lin et al. 2017, equation 1).

Matterport's package takes one bilinear sample per bin (He et al. 2017, section 3: "nearly as effective" as four);
torchvision takes the mean of 2 x 2, detectron2 of about one per cell. Shape letters: B images; N regions of an image;
R = B * N; C channels; S bins per side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

from mrcnn.architecture import Architecture
from mrcnn.network.backend_ops import level_sampler
from mrcnn.network.constants import CANONICAL_SIDE

REGIONS_AT_ONCE = 128
"""Regions that are pooled together when their numbers of samples differ: 6 MB of float32 with 256 channels and 7 x 7
bins, which a processor's cache holds."""


def roi_levels(boxes, image_shape, architecture: Architecture):
    """Index of the pyramid level from which each region is pooled.

    Args:
        boxes: float32 (..., 4), normalized (y1, x1, y2, x2).
        image_shape: (H, W) of the canvas, pixels.
        architecture: floored_levels is read.

    Returns:
        int32 (...): 0 for P2 … 3 for P5; 0 for empty boxes.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    side = ops.sqrt(ops.maximum(height * width, 1e-12))
    exact = ops.log2(side * (math.sqrt(image_shape[0] * image_shape[1]) / CANONICAL_SIDE))
    # 1e-6 is added at level 4, where float32 rounds to half of it
    level = ops.floor(exact + 4.0 + 1e-6) - 2.0 if architecture.floored_levels else ops.round(exact) + 2.0
    return ops.cast(ops.clip(level, 0.0, 3.0), "int32")


def roi_align(feature_maps, boxes, pool_size: int, image_shape, architecture: Architecture):
    """Pool every region from its pyramid level to a fixed size.

    Args:
        feature_maps: [P2, P3, P4, P5], each (B, h, w, C).
        boxes: float32 (B, N, 4), normalized (y1, x1, y2, x2). Gradients do not propagate to them.
        pool_size: S.
        image_shape: (H, W) of the canvas, pixels.
        architecture: floored_levels, roi_samples and roi_offset are read. With roi_samples 0, JAX computes no
            gradients.

    Returns:
        (B, N, S, S, C).
    """
    batch, count = boxes.shape[0], boxes.shape[1]
    flat_boxes = ops.reshape(ops.stop_gradient(boxes), (batch * count, 4))
    image_indices = ops.repeat(ops.arange(batch, dtype="int32"), count)
    levels = roi_levels(flat_boxes, image_shape, architecture)
    sample = level_sampler(feature_maps if architecture.roi_samples is None else list(map(_with_border, feature_maps)))
    if architecture.roi_samples is None:
        pooled = sample(flat_boxes, image_indices, levels, pool_size)
    else:
        cells = ops.convert_to_tensor([tuple(level.shape[1:3]) for level in feature_maps], "float32")
        level_hw = ops.take(cells, levels, axis=0)
        low = flat_boxes[:, :2] * level_hw - architecture.roi_offset
        size = (flat_boxes[:, 2:] - flat_boxes[:, :2]) * level_hw
        if architecture.roi_offset == 0.0:
            size = ops.maximum(size, 1.0)
        regions = _Regions(low, size, level_hw, image_indices, levels)
        if architecture.roi_samples:
            pooled = _pool_evenly(sample, regions, pool_size, architecture.roi_samples)
        else:
            pooled = ops.cast(_pool_adaptively(sample, regions, pool_size), feature_maps[0].dtype)
    return ops.reshape(pooled, (batch, count, pool_size, pool_size, feature_maps[0].shape[-1]))


class _Regions(NamedTuple):
    """Regions in cells of their levels.

    Attributes:
        low: float32 (R, 2), (y1, x1).
        size: float32 (R, 2), height and width.
        level_hw: float32 (R, 2), rows and columns of the level.
        image_indices: int32 (R,), index into the batch.
        levels: int32 (R,).
    """

    low: object
    size: object
    level_hw: object
    image_indices: object
    levels: object


def _with_border(level):
    """A level (B, h, w, C) with a border of one cell, which repeats the edge.

    RoIAlign gives samples up to one cell outside of a level the value of its edge, and samples farther outside 0.
    """
    level = ops.concatenate([level[:, :1], level, level[:, -1:]], axis=1)
    return ops.concatenate([level[:, :, :1], level, level[:, :, -1:]], axis=2)


def _sample_grid(sample, regions, first, last, grid_size):
    """Values (R, grid_size, grid_size, C) of grids from `first` to `last`, float32 (R, 2), cells (y, x)."""
    last_cell = regions.level_hw + 1.0  # of the level with its border, which also shifts all cells by one
    grids = ops.concatenate([(first + 1.0) / last_cell, (last + 1.0) / last_cell], axis=-1)
    return sample(grids, regions.image_indices, regions.levels, grid_size)


def _pool_evenly(sample, regions, pool_size, samples):
    """Means of samples x samples samples of each bin."""
    half_step = 0.5 * regions.size / (pool_size * samples)
    last = regions.low + regions.size - half_step
    values = _sample_grid(sample, regions, regions.low + half_step, last, pool_size * samples)
    return ops.average_pool(values, samples, samples)


def _pool_adaptively(sample, regions, pool_size):
    """Means of as many samples of each bin, along each axis, as the bin has cells, rounded up.

    Regions are sorted by their number of samples and pooled in chunks, in each of which a loop takes one sample of
    every bin at a time: hardly any sample is taken in vain.
    """
    count = regions.low.shape[0]
    chunks = -(-count // REGIONS_AT_ONCE)
    padding = chunks * REGIONS_AT_ONCE - count
    order = ops.flip(ops.argsort(_samples_of(regions, pool_size)[1]))

    def in_chunks(values):
        values = ops.pad(ops.take(values, order, axis=0), [[0, padding], *[[0, 0]] * (len(values.shape) - 1)])
        return ops.reshape(values, (chunks, REGIONS_AT_ONCE, *values.shape[1:]))

    def pool(chunk):
        chunk = _Regions(*chunk)
        per_axis, total = _samples_of(chunk, pool_size)
        step = chunk.size / (pool_size * ops.cast(per_axis, "float32"))

        def add_sample(index, sums):
            place = ops.stack([index // per_axis[:, 1], index % per_axis[:, 1]], axis=-1)
            first = chunk.low + (ops.cast(place, "float32") + 0.5) * step
            last = first + chunk.size * ((pool_size - 1) / pool_size)
            values = ops.cast(_sample_grid(sample, chunk, first, last, pool_size), "float32")
            return index + 1, sums + ops.where((index < total)[:, None, None, None], values, 0.0)

        most = ops.max(total)
        first_sample = add_sample(ops.zeros((), "int32"), 0.0)
        _, sums = ops.while_loop(lambda index, _: index < most, add_sample, first_sample)
        return sums / ops.cast(total, "float32")[:, None, None, None]

    pooled = ops.map(pool, tuple(map(in_chunks, regions)))
    pooled = ops.reshape(pooled, (chunks * REGIONS_AT_ONCE, *pooled.shape[2:]))
    return ops.take(pooled, ops.argsort(order), axis=0)


def _samples_of(regions, pool_size):
    """Samples of a bin along each axis, int32 (R, 2), and their product (R,)."""
    per_axis = ops.cast(ops.maximum(ops.ceil(regions.size / pool_size), 1.0), "int32")
    return per_axis, per_axis[:, 0] * per_axis[:, 1]
