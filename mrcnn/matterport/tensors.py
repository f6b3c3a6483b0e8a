"""Helpers that work on backend tensors. Keras is imported when they are called, which keeps `mrcnn.utils` light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def box_refinement_graph(box: Any, gt_box: Any) -> Any:
    """`mrcnn.matterport.boxes.box_refinement` on tensors: float32 (N, 4) deltas that turn `box` (N, 4) into
    `gt_box` (N, 4)."""
    from keras import ops

    box, gt_box = ops.cast(box, "float32"), ops.cast(gt_box, "float32")
    size, gt_size = box[:, 2:4] - box[:, :2], gt_box[:, 2:4] - gt_box[:, :2]
    center, gt_center = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    return ops.concatenate([(gt_center - center) / size, ops.log(gt_size / size)], axis=1)


def batch_slice(inputs: Any, graph_fn: Callable[..., Any], batch_size: int, names: Sequence[str] | None = None) -> Any:
    """Apply a function that knows single items to each item of a batch.

    Args:
        inputs: one tensor or a list of tensors, (batch_size, ...).
        graph_fn: takes one item of each input; returns a tensor or a list of tensors, of the same shape for each item.
        batch_size: items in the batch.
        names: accepted for the original's sake; tensors of Keras 3 have no names to give.

    Returns:
        The stacked results (batch_size, ...), a list if `graph_fn` gives more than one.
    """
    from keras import ops

    inputs = inputs if isinstance(inputs, list | tuple) else [inputs]
    results = [graph_fn(*(tensor[i] for tensor in inputs)) for i in range(batch_size)]
    results = [result if isinstance(result, list | tuple) else [result] for result in results]
    stacked = [ops.stack(items, axis=0) for items in zip(*results, strict=True)]
    return stacked[0] if len(stacked) == 1 else stacked
