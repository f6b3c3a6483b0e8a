"""The helpers on tensors agree with NumPy."""

import numpy as np
from keras import ops

from mrcnn.matterport.boxes import box_refinement
from mrcnn.matterport.tensors import batch_slice, box_refinement_graph

BOXES = np.array([[0, 0, 10, 20], [5, 3, 6, 40], [7, 7, 19, 9]])
GT_BOXES = np.array([[2, -1, 9, 25], [5, 3, 6, 40], [0, 0, 30, 8]])


def test_box_refinement_graph():
    deltas = ops.convert_to_numpy(box_refinement_graph(BOXES, GT_BOXES))
    assert deltas.dtype == np.float32
    np.testing.assert_allclose(deltas, box_refinement(BOXES, GT_BOXES), atol=1e-6)


def test_batch_slice_of_one_input_and_output():
    items = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    result = batch_slice(items, lambda item: ops.sum(item, axis=0), 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(result), items.sum(axis=1))


def test_batch_slice_of_several():
    items, factors = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([2.0, 0.5, -1], np.float32)
    product, total = batch_slice([items, factors], lambda x, f: (x * f, ops.sum(x)), 3, names=["product", "total"])
    np.testing.assert_array_equal(ops.convert_to_numpy(product), items * factors[:, None])
    np.testing.assert_array_equal(ops.convert_to_numpy(total), items.sum(axis=1))
