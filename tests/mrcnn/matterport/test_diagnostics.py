"""Figures about detections: their parts are what the numbers say."""

import matplotlib
import numpy as np
import pytest

from mrcnn.matterport import diagnostics

NAMES = ["BG", "cat", "dog"]

pytestmark = pytest.mark.usefixtures("pyplot")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)


def masks_of(boxes):
    masks = np.zeros((60, 90, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_display_differences(pyplot, image):
    gt_boxes = np.array([[5, 10, 25, 40]])
    pred_boxes = np.array([[30, 50, 40, 60], [5, 10, 25, 25]])  # an invention, and half of the object
    _, axes = pyplot.subplots()
    diagnostics.display_differences(
        image, gt_boxes, np.array([1]), masks_of(gt_boxes),
        pred_boxes, np.array([2, 1]), np.array([0.7, 0.9]), masks_of(pred_boxes), NAMES, ax=axes,
    )  # fmt: skip
    assert texts(axes) == ["", "0.90 / 0.50", "0.70 / 0.00"]
    rectangles = [patch for patch in axes.patches if hasattr(patch, "get_bbox")]
    assert [patch.get_edgecolor()[:2] for patch in rectangles] == [(0, 1), (1, 0), (1, 0)]
    assert rectangles[1].get_bbox().bounds == (10, 5, 15, 20)
    assert "GT=green" in axes.get_title()


def test_display_differences_without_ground_truth(pyplot, image):
    nothing, pred_boxes = np.zeros((0, 4), int), np.array([[30, 50, 40, 60]])
    _, axes = pyplot.subplots()
    diagnostics.display_differences(
        image, nothing, np.zeros(0, int), masks_of(nothing),
        pred_boxes, np.array([2]), np.array([0.7]), masks_of(pred_boxes), NAMES, title="t", ax=axes,
    )  # fmt: skip
    assert texts(axes) == ["0.70 / 0.00"]
    assert axes.get_title() == "t"


def test_draw_rois(pyplot, image, capsys):
    rois = np.array([[5, 10, 25, 40], [30, 50, 40, 60], [1, 2, 3, 4]])
    diagnostics.draw_rois(image, rois, rois + 2, np.ones((3, 28, 28)), np.array([1, 0, 2]), NAMES)
    axes = pyplot.gca()
    assert sorted(texts(axes)) == ["cat", "dog"]
    rectangles = [patch for patch in axes.patches if hasattr(patch, "get_bbox")]
    assert len(rectangles) == 5  # two with their refinement, one background
    assert "3 random ROIs out of 3" in axes.get_title()
    assert "Positive Ratio: 0.67" in capsys.readouterr().out


def test_draw_boxes(pyplot, image):
    boxes = np.array([[5, 10, 25, 40], [0, 0, 0, 0], [30, 50, 40, 60]])
    refined = np.array([[6, 12, 26, 42]])
    _, axes = pyplot.subplots()
    diagnostics.draw_boxes(image, boxes, refined, masks_of(boxes), ["a", "b", "c"], [2, 1, 0], "boxes", axes)
    assert texts(axes) == ["a", "c"]
    rectangles = [patch for patch in axes.patches if hasattr(patch, "get_bbox")]
    assert [patch.get_bbox().bounds for patch in rectangles] == [(10, 5, 30, 20), (12, 6, 30, 20), (50, 30, 10, 10)]
    assert len(axes.lines) == 1
    assert rectangles[2].get_edgecolor()[:3] == matplotlib.colors.to_rgb("gray")
    assert axes.get_title() == "boxes"


def test_draw_boxes_refined_only(pyplot, image, tmp_path):
    diagnostics.draw_boxes(image, refined_boxes=np.array([[6, 12, 26, 42]]), save_to=tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_draw_boxes_needs_boxes(image):
    with pytest.raises(ValueError, match="needs boxes or refined_boxes"):
        diagnostics.draw_boxes(image)


def test_plot_precision_recall(pyplot, tmp_path):
    diagnostics.plot_precision_recall(0.75, [1, 0.5, 0], [0, 0.5, 1])
    axes = pyplot.gca()
    assert axes.get_title() == "Precision-Recall Curve. AP@50 = 0.750"
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0, 1], [0.5, 0.5], [1, 0]])
    diagnostics.plot_precision_recall(0.75, [1, 0.5, 0], [0, 0.5, 1], save_to=tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_plot_overlaps(pyplot):
    overlaps = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.6]])
    diagnostics.plot_overlaps([1, 2, 1, 0], [1, 2, 0, 0], [0.95, 0.5], overlaps, NAMES)
    axes = pyplot.gca()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (0.95)", "dog (0.50)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "cat"]
    assert texts(axes) == ["0.900\nmatch", "0.100\n", "0.000\n", "0.200\n", "0.300\n", "0.600\nwrong"]


def test_display_table_as_text(capsys):
    diagnostics.display_table([["NAME", "VALUE"], ["<a>", 2.5]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["NAME", "VALUE"], ["<a>", "2.5"]]


class Weight:
    def __init__(self, name, values):
        self.name, self.values = name, np.array(values)

    def __array__(self, dtype=None, copy=None):
        return self.values


class Layer:
    def __init__(self, name, *weights):
        self.name, self.weights, self.trainable_weights = name, weights, weights


class Model:
    def __init__(self, *layers):
        self.layers = layers


def test_display_weight_stats(capsys):
    inner = Model(Layer("deep", Weight("kernel", np.full((2, 3), 0.25)), Weight("bias", [0.0])))
    model = Model(Layer("input"), Layer("first", Weight("kernel", [[-1.0, 3.0]])), inner)
    model.keras_model = model
    diagnostics.display_weight_stats(model)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["WEIGHT", "NAME", "SHAPE", "MIN", "MAX", "STD"]
    assert rows[1] == ["first/kernel", "(1,", "2)", "-1.0000", "+3.0000", "+2.0000"]
    assert rows[2] == ["deep/kernel", "***", "dead?", "(2,", "3)", "+0.2500", "+0.2500", "+0.0000"]
    assert rows[3] == ["deep/bias", "(1,)", "+0.0000", "+0.0000", "+0.0000"]
