"""The five losses of Mask R-CNN (Ren et al. 2015, equation 1; He et al. 2017, section 3) and a sixth, all scalars.

Letters: B images of a batch; A anchors; T sampled regions of an image; M regions of an image whose masks are trained; K
classes with the background; S side of a mask. Each loss is a mean over the anchors or regions that count in the whole
batch, 0 where none counts.
"""

from __future__ import annotations

import keras
from keras import ops


def smooth_l1(difference, beta: float = 1.0):
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta, element by element (Girshick 2015, equation 3, beta 1)."""
    size = ops.abs(difference)
    return ops.where(size < beta, 0.5 / beta * size * size, size - 0.5 * beta)


def masked_mean(values, weights):
    """Sum of values * weights over the sum of weights; 0 where all weights are 0."""
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1e-6)


def rpn_class_loss(match, class_logits):
    """Cross-entropy of the anchors that were sampled.

    Args:
        match: int32 (B, A): 1 object, -1 background, 0 does not count.
        class_logits: float32 (B, A, 2), (background, object).
    """
    losses = keras.losses.sparse_categorical_crossentropy(ops.maximum(match, 0), class_logits, from_logits=True)
    return masked_mean(losses, ops.cast(ops.not_equal(match, 0), "float32"))


def rpn_box_loss(match, target_deltas, deltas, beta: float = 1.0):
    """Smooth L1 of the anchors that hold an object, averaged over anchors and the four deltas.

    Args:
        match: as in `rpn_class_loss`.
        target_deltas: float32 (B, A, 4), divided by RPN_BBOX_STD_DEV; only rows of objects are read.
        deltas: float32 (B, A, 4).
        beta: see `smooth_l1`.
    """
    losses = ops.mean(smooth_l1(target_deltas - deltas, beta), axis=-1)
    return masked_mean(losses, ops.cast(ops.equal(match, 1), "float32"))


def active_counts(counts, active_class_ids, class_logits):
    """`counts` without the regions that are classified as a class that their image's source does not annotate.

    With several sources, an image teaches nothing about the classes of the other sources.

    Args:
        counts: float32 (B, T).
        active_class_ids: int32 (B, K), 1 for the classes of the image's source.
        class_logits: float32 (B, T, K).

    Returns:
        float32 (B, T).
    """
    predicted = ops.cast(ops.argmax(class_logits, axis=-1), "int32")
    return counts * ops.cast(ops.take_along_axis(active_class_ids, predicted, axis=1), "float32")


def weight_decay(variables, decay: float):
    """Sum over the variables of decay * sum(w^2) / size(w), gamma and beta of normalization excluded.

    Matterport's form of the L2 penalty: through the division, the penalty of a layer does not grow with its size.
    """
    counted = [variable for variable in variables if variable.name not in ("gamma", "beta")]
    return sum((ops.mean(ops.square(ops.cast(variable, "float32"))) for variable in counted), 0.0) * decay


def class_loss(class_ids, counts, class_logits):
    """Cross-entropy of the regions.

    Args:
        class_ids: int32 (B, T), 0 … K - 1.
        counts: float32 (B, T), 1 where the slot holds a region, else 0.
        class_logits: float32 (B, T, K).
    """
    losses = keras.losses.sparse_categorical_crossentropy(class_ids, class_logits, from_logits=True)
    return masked_mean(losses, counts)


def box_loss(class_ids, is_object, target_deltas, deltas, beta: float = 1.0):
    """Smooth L1 of the deltas of each region's own class.

    Args:
        class_ids: int32 (B, T), which of the K boxes is trained; 0 trains the background's, which is never used.
        is_object: float32 (B, T), 1 where the slot holds an object.
        target_deltas: float32 (B, T, 4), divided by BBOX_STD_DEV.
        deltas: float32 (B, T, K, 4).
        beta: see `smooth_l1`.
    """
    own = ops.take_along_axis(deltas, class_ids[..., None, None], axis=2)[:, :, 0]
    return masked_mean(ops.mean(smooth_l1(target_deltas - own, beta), axis=-1), is_object)


def own_class(class_ids, mask_logits):
    """The logits of each region's own class, float32 (B, M, S, S).

    Args:
        class_ids: int32 (B, M).
        mask_logits: float32 (B, M, S, S, K).
    """
    return ops.take_along_axis(mask_logits, class_ids[..., None, None, None], axis=-1)[..., 0]


def mask_loss(is_object, target_masks, logits):
    """Binary cross-entropy, averaged over the cells of a mask.

    Args:
        is_object: float32 (B, M), 1 where the slot holds an object.
        target_masks: float32 (B, M, S, S), 0 … 1.
        logits: float32 (B, M, S, S), see `own_class`.
    """
    # log(1 + exp(x)) - x y, in the form that does not overflow
    losses = ops.relu(logits) - logits * target_masks + ops.log1p(ops.exp(-ops.abs(logits)))
    return masked_mean(ops.mean(losses, axis=(-2, -1)), is_object)


def dice_loss(is_object, target_masks, logits):
    """1 - Dice coefficient of each mask, with squared denominators and one cell added on both sides of the fraction.

    Milletari et al. 2016, section 3. It measures the overlap, as average precision does, where the cross-entropy counts
    cells: a doubtful edge tends to 0.5 under the latter whatever the size of the object.

    Args:
        is_object, target_masks, logits: as in `mask_loss`.
    """
    probs = ops.sigmoid(logits)
    overlap = ops.sum(probs * target_masks, axis=(-2, -1))
    sizes = ops.sum(probs * probs, axis=(-2, -1)) + ops.sum(target_masks * target_masks, axis=(-2, -1))
    return masked_mean(1 - (2 * overlap + 1) / (sizes + 1), is_object)


def semantic_loss(class_map, class_logits):
    """Cross-entropy of the cells of a pyramid level.

    Args:
        class_map: int32 (B, h, w), 0 … K - 1; -1 does not count.
        class_logits: float32 (B, h, w, K).
    """
    losses = keras.losses.sparse_categorical_crossentropy(ops.maximum(class_map, 0), class_logits, from_logits=True)
    return masked_mean(losses, ops.cast(class_map >= 0, "float32"))
