import numpy as np
import pytest

from pipeline.segmentation.batching import run_in_batches


class FakeNetwork:
    """Answers with each canvas' first pixel and its window; remembers the shapes that it was given."""

    def __init__(self):
        self.shapes, self.contents = [], []

    def __call__(self, images, windows):
        self.shapes.append(images.shape)
        self.contents.append(images[:, 0, 0, 0].tolist())
        return [(int(image[0, 0, 0]), window.tolist()) for image, window in zip(images, windows, strict=True)]


def canvases_of(values, height=4, width=6):
    return [np.full((height, width, 3), value, np.uint8) for value in values]


def test_every_batch_has_the_same_shape_and_the_filling_is_dropped():
    network = FakeNetwork()
    windows = [(index, 0, 4, 6) for index in range(5)]
    found = run_in_batches(canvases_of(range(5)), windows, 2, network)
    assert found == [(index, [index, 0, 4, 6]) for index in range(5)]
    assert network.shapes == [(2, 4, 6, 3)] * 3
    assert network.contents == [[0, 1], [2, 3], [4, 4]]


def test_only_neighbors_of_one_shape_go_in_together():
    network = FakeNetwork()
    canvases = [*canvases_of([1, 2]), *canvases_of([3], 8, 4), *canvases_of([4])]
    found = run_in_batches(canvases, [(0, 0, 4, 4)] * 4, 3, network)
    assert [value for value, _ in found] == [1, 2, 3, 4]
    assert network.shapes == [(3, 4, 6, 3), (3, 8, 4, 3), (3, 4, 6, 3)]


def test_one_at_a_time_copies_no_canvas():
    canvas, given = canvases_of([7])[0], []
    run_in_batches([canvas], [(0, 0, 4, 6)], 1, lambda images, windows: given.append(images) or [0])
    assert np.shares_memory(given[0], canvas)


def test_nothing_in_nothing_out():
    assert run_in_batches([], [], 4, FakeNetwork()) == []


def test_what_does_not_fit_together_is_said():
    with pytest.raises(ValueError, match="got 2 and 1"):
        run_in_batches(canvases_of([1, 2]), [(0, 0, 4, 6)], 2, FakeNetwork())
    with pytest.raises(ValueError, match="answered 1 times for a batch of 2"):
        run_in_batches(canvases_of([1]), [(0, 0, 4, 6)], 2, lambda images, windows: [0])
