"""Drawing: exact pixels where we set them, the Matplotlib figure's parts where it draws."""

import random

import cv2
import numpy as np
import pytest

from mrcnn.matterport import display as drawing

pytestmark = pytest.mark.usefixtures("pyplot")


@pytest.fixture
def scene():
    """An image (60, 90), two instances, their names and scores."""
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    boxes = np.array([[5, 10, 30, 40], [20, 50, 55, 85]], np.int32)
    masks = np.zeros((60, 90, 2), bool)
    masks[10:25, 15:35, 0] = True
    masks[25:50, 55:80, 1] = True
    return image, boxes, masks, np.array([2, 1]), ["BG", "cat", "dog"], np.array([0.98765, 0.5])


def test_random_colors_are_all_the_hues_in_the_order_of_the_seed():
    random.seed(4)
    expected = [(0, 0.4, 1), (0.8, 0, 1), (1, 0, 0), (0, 1, 0.4), (0.8, 1, 0)]  # printed by the original
    np.testing.assert_allclose(drawing.random_colors(5), expected, atol=1e-12)
    random.seed(4)
    np.testing.assert_allclose(drawing.random_colors(3, bright=False), 0.7 * np.eye(3)[[2, 1, 0]], atol=1e-12)
    assert drawing.random_colors(0) == []


def test_apply_mask_by_hand():
    image = np.full((2, 3, 3), 100, np.uint8)
    mask = np.array([[0, 1, 0], [0, 0, 1]])
    result = drawing.apply_mask(image, mask, (1.0, 0.5, 0.0), alpha=0.25)
    assert result is image
    assert image[0, 1].tolist() == image[1, 2].tolist() == [138, 106, 75]  # 75 + 63.75, 75 + 31.875, 75
    assert (image[mask == 0] == 100).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.float32])
def test_apply_mask_is_the_blend_of_whole_channels(dtype):
    rng = np.random.default_rng(8)
    image, mask, color = rng.integers(0, 256, (31, 17, 3)).astype(dtype), rng.random((31, 17)) > 0.4, (0.9, 0.13, 0.77)
    expected = image.copy()
    for c in range(3):
        expected[:, :, c] = np.where(mask, image[:, :, c] * (1 - 0.5) + 0.5 * color[c] * 255, image[:, :, c])
    np.testing.assert_array_equal(drawing.apply_mask(image, mask, color), expected)


def test_apply_mask_without_a_pixel():
    image = np.full((4, 5, 3), 9, np.uint8)
    assert (drawing.apply_mask(image, np.zeros((4, 5), bool), (1, 1, 1)) == 9).all()


def test_draw_box_by_hand():
    image = drawing.draw_box(np.zeros((20, 30, 3), np.uint8), (4, 6, 12, 25), (7, 8, 9))
    painted = np.zeros((20, 30), bool)
    painted[4:6, 6:25] = painted[12:14, 6:25] = painted[4:12, 6:8] = painted[4:12, 25:27] = True
    np.testing.assert_array_equal(image.any(axis=2), painted)
    assert image[4, 6].tolist() == [7, 8, 9]


def test_display_instances_draws_boxes_names_and_masks(pyplot, scene):
    image, boxes, masks, class_ids, names, scores = scene
    _, axes = pyplot.subplots()
    colors = [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
    before = image.copy()
    drawing.display_instances(image, boxes, masks, class_ids, names, scores, title="two", ax=axes, colors=colors)
    np.testing.assert_array_equal(image, before)
    assert axes.get_title() == "two"
    assert [text.get_text() for text in axes.texts] == ["dog 0.988", "cat 0.500"]
    rectangles = [patch.get_bbox().bounds for patch in axes.patches if hasattr(patch, "get_bbox")]
    assert rectangles == [(10, 5, 30, 25), (50, 20, 35, 35)]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown[masks.any(axis=2) == 0], image[masks.any(axis=2) == 0])
    red, green, blue = image[30, 60].tolist()
    assert shown[30, 60].tolist() == [red // 2, green // 2, (blue + 255) // 2]


def test_display_instances_parts_can_be_left_out(pyplot, scene):
    image, boxes, masks, class_ids, names, _ = scene
    boxes = boxes.copy()
    boxes[0] = 0  # no box: not an instance
    _, axes = pyplot.subplots()
    drawing.display_instances(
        image, boxes, masks, class_ids, names, ax=axes, show_mask=False, show_bbox=False, captions=["a", "b"]
    )
    assert [text.get_text() for text in axes.texts] == ["b"]
    assert not [patch for patch in axes.patches if hasattr(patch, "get_bbox")]
    np.testing.assert_array_equal(axes.images[0].get_array(), image)


def test_display_instances_saves_to_a_file(pyplot, scene, tmp_path):
    drawing.display_instances(*scene, figsize=(6, 4), save_to=tmp_path / "out.png")
    saved = cv2.imread(str(tmp_path / "out.png"))
    assert min(saved.shape[:2]) > 100
    assert saved.std() > 20
    assert pyplot.get_fignums() == []


def test_display_instances_stays_open_for_savefig_without_a_screen(pyplot, scene, tmp_path, caplog):
    drawing.display_instances(*scene)
    assert "no screen" in caplog.text
    pyplot.savefig(tmp_path / "out.jpg")
    assert cv2.imread(str(tmp_path / "out.jpg")).std() > 20


def test_display_instances_with_nothing_to_show(scene, tmp_path, capsys):
    image = scene[0]
    nothing = (np.zeros((0, 4), np.int32), np.zeros((60, 90, 0), bool), np.zeros(0, int))
    drawing.display_instances(image, *nothing, ["BG"], np.zeros(0), save_to=tmp_path / "out.png")
    assert "*** No instances to display ***" in capsys.readouterr().out
    assert (tmp_path / "out.png").stat().st_size > 0


def test_display_instances_refuses_different_numbers(scene):
    image, boxes, masks, class_ids, names, _ = scene
    with pytest.raises(ValueError, match=r"got 2 boxes, masks of shape \(60, 90, 1\) and 2 class_ids"):
        drawing.display_instances(image, boxes, masks[..., :1], class_ids, names)


def test_a_window_is_shown_where_there_is_one(pyplot, scene, monkeypatch):
    shown = []
    monkeypatch.setattr(drawing, "has_windows", lambda: True)
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    drawing.display_instances(*scene)
    assert shown == [[1]]


def test_a_backend_that_cannot_start_gives_way(pyplot, scene, monkeypatch, tmp_path, caplog):
    switched = []

    def switch_backend(name):
        switched.append(name)
        if len(switched) == 1:
            raise ImportError("needs a display")

    monkeypatch.setattr(pyplot, "switch_backend", switch_backend)
    drawing.display_instances(*scene, save_to=tmp_path / "out.png")
    assert switched[1:] == ["Agg"]
    assert "cannot open windows here (needs a display)" in caplog.text


def test_display_images(pyplot, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(drawing, "finish", lambda figure, save_to: figures.append(figure))
    drawing.display_images(
        [np.zeros((4, 6)), np.ones((5, 3, 3)), np.ones((2, 2))], ["a", "b", "c"], cols=2, cmap="gray"
    )
    assert [axes.get_title() for axes in figures[0].axes] == ["a", "b", "c"]
    assert [axes.images[0].get_array().shape[:2] for axes in figures[0].axes] == [(4, 6), (5, 3), (2, 2)]


def test_display_top_masks_orders_classes_by_area(pyplot, scene, monkeypatch):
    image, _, masks, _, names, _ = scene
    calls = []
    monkeypatch.setattr(
        drawing, "display_images", lambda images, titles, **options: calls.append((images, titles, options))
    )
    masks = np.concatenate([masks, masks[..., :1]], axis=2)  # areas: dog 2 x 300, cat 625
    drawing.display_top_masks(image, masks, [2, 1, 2], names, limit=3)
    images, titles, options = calls[0]
    assert titles == ["H x W=60x90", "cat", "dog", "-"]
    assert options["cols"] == 4
    assert images[2][15, 20] == 1 + 2  # instances of a class are told apart: 1 and 2, here on the same pixel
    assert not images[3].any()
