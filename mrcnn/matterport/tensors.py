"""Helpers on tensors of the Keras backend, which import Keras when called to keep `mrcnn.utils` light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def box_refinement_graph(box: Any, gt_box: Any) -> Any:
    """Compute `mrcnn.matterport.boxes.box_refinement` on tensors: deltas float32 (N, 4)."""
    from keras import ops

    from mrcnn.network.box_coding import encode_deltas

    return encode_deltas(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


def batch_slice(inputs: Any, graph_fn: Callable[..., Any], batch_size: int, names: Sequence[str] | None = None) -> Any:
    """Apply a function of single items to each item of a batch.

    Args:
        inputs: one tensor or a list of tensors, (batch_size, ...).
        graph_fn: takes one item of each input; returns a tensor or a list of tensors, of the same shape for each item.
        batch_size: number of items in the batch.
        names: ignored; tensors of Keras 3 have no names.

    Returns:
        The stacked results (batch_size, ...), a list if `graph_fn` returns a list of several.
    """
    from keras import ops

    inputs = inputs if isinstance(inputs, list | tuple) else [inputs]
    results = [graph_fn(*(tensor[i] for tensor in inputs)) for i in range(batch_size)]
    results = [result if isinstance(result, list | tuple) else [result] for result in results]
    stacked = [ops.stack(items, axis=0) for items in zip(*results, strict=True)]
    return stacked[0] if len(stacked) == 1 else stacked
