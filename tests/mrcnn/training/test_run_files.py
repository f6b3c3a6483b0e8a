"""The files of a run: log, checkpoints, compact weights."""

from __future__ import annotations

import json

import cv2
import h5py
import keras
import numpy as np
import pytest

from mrcnn.training.data import ImageCache
from mrcnn.training.run_files import (
    COLORS_RGB,
    append_line,
    draw_curves,
    draw_predictions,
    load_checkpoint,
    read_log,
    save_checkpoint,
    truncate_log,
    write_compact,
)
from mrcnn.training.validation import Detection


def test_lines_come_back_and_a_torn_one_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    append_line(path, {"step": 1, "loss": 0.5})
    append_line(path, {"step": 2, "mask_ap50": None})
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert read_log(path) == [{"step": 1, "loss": 0.5}, {"step": 2, "mask_ap50": None}]


def test_steps_that_will_be_done_again_are_cut(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (10, 20, 20, 30):
        append_line(path, {"step": step})
    truncate_log(path, 30)
    assert [line["step"] for line in read_log(path)] == [10, 20, 20, 30]
    truncate_log(path, 25)
    assert [line["step"] for line in read_log(path)] == [10, 20, 20]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def variables(start):
    return [keras.Variable(np.arange(3) + start), keras.Variable(np.full((2, 5), start))]


def values(found):
    return [keras.ops.convert_to_numpy(variable) for variable in found]


def test_variables_and_state_come_back(tmp_path):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, variables(7.0), {"step": 12, "settings": {"batch": 4}})
    other = variables(0.0)
    assert load_checkpoint(path, other) == {"step": 12, "settings": {"batch": 4}}
    for found, expected in zip(values(other), values(variables(7.0)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, variables(7.0), {"step": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, variables(9.0), {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path, variables(0.0))["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_damaged_and_foreign_checkpoints_are_errors_and_change_nothing(tmp_path):
    path = tmp_path / "checkpoint.npz"
    mine = variables(7.0)
    path.write_bytes(b"PK not really")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load_checkpoint(path, mine)
    save_checkpoint(path, variables(9.0), {"step": 1})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load_checkpoint(path, mine)
    save_checkpoint(path, variables(9.0)[:1], {"step": 1})
    with pytest.raises(ValueError, match="other settings"):
        load_checkpoint(path, mine)
    np.testing.assert_array_equal(values(mine)[1], np.full((2, 5), 7.0))


def write(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"a"])
        file.attrs["stream_segment"] = json.dumps({"config": {"NAME": "old"}})
        group = file.create_group("a")
        group.attrs["weight_names"] = np.array([b"a/kernel:0", b"a/bias:0"])
        group["a/kernel:0"] = np.array([[1.0, 0.1], [-2.0, 3e-4]], np.float32)
        group["a/bias:0"] = np.array([70000.0, 0.1], np.float32)  # more than float16 holds


def test_kernels_are_halved_and_everything_else_stays(tmp_path):
    path = tmp_path / "a.h5"
    write(path)
    write_compact(path, path)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["stream_segment"]) == {"config": {"NAME": "old"}}
        assert list(file["a"].attrs["weight_names"]) == [b"a/kernel:0", b"a/bias:0"]
        assert file["a/a/kernel:0"].dtype == np.float16
        np.testing.assert_allclose(file["a/a/kernel:0"][()], [[1.0, 0.1], [-2.0, 3e-4]], rtol=1e-3)
        np.testing.assert_array_equal(file["a/a/bias:0"][()], np.array([70000.0, 0.1], np.float32))
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_metadata_and_a_change_on_the_way(tmp_path):
    write(tmp_path / "a.h5")

    def shift(file):
        file["a/a/bias:0"][...] += np.float32(1)

    write_compact(tmp_path / "a.h5", tmp_path / "b.h5", {"config": {"NAME": "new"}}, shift)
    with h5py.File(tmp_path / "b.h5") as file:
        assert json.loads(file.attrs["stream_segment"]) == {"config": {"NAME": "new"}}
        assert file["a/a/bias:0"][1] == pytest.approx(1.1)


def test_a_full_disk_leaves_the_old_file_alone(tmp_path, monkeypatch):
    write(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_compact(tmp_path / "a.h5", tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_curves_are_drawn_from_any_log(tmp_path):
    lines = [
        {"step": 10, "loss": 2.5, "rpn_class_loss": 0.3, "mrcnn_mask_loss": 0.6},
        {"step": 20, "val_loss": 2.1, "val_rpn_class_loss": 0.2, "mask_ap50": 0.25},
        {"step": 30, "val_loss": 2.0, "mask_ap50": None},
    ]
    draw_curves(tmp_path / "none.png", [])
    draw_curves(tmp_path / "some.png", lines)
    none, some = (cv2.imread(str(tmp_path / name)) for name in ("none.png", "some.png"))
    assert none.shape == some.shape
    assert (none != some).any()
    assert {file.name for file in tmp_path.iterdir()} == {"none.png", "some.png"}


def test_predictions_lie_beside_the_truth(tmp_path, tiny_data):
    first = tiny_data.images[0]  # 150 x 100 pixels, an object of class 1 at rows 20 … 80, columns 30 … 60
    cv2.imwrite(str(first.path), np.zeros((100, 150, 3), np.uint8))
    sure = Detection(1, 0.9, np.array([50, 100, 90, 140]), np.ones((40, 40), bool))
    unsure = Detection(1, 0.2, np.array([0, 0, 40, 90]), np.ones((40, 90), bool))
    path = tmp_path / "sheet.png"
    draw_predictions(path, [(first, [sure, unsure])], ("BG", "person"), ImageCache(), 0.5)
    sheet = cv2.imread(str(path))[..., ::-1]
    half = 360  # the longer side of the photograph; the label's line above is 18 high
    scale = half / 150
    color = np.array(COLORS_RGB[1]) // 2

    def pixel(row, column, right):
        return sheet[18 + round(row * scale), round(column * scale) + (half + 6 if right else 0)].astype(int)

    np.testing.assert_allclose(pixel(60, 45, right=False), color, atol=2)
    np.testing.assert_allclose(pixel(60, 45, right=True), 0, atol=2)
    np.testing.assert_allclose(pixel(75, 120, right=True), color, atol=2)
    np.testing.assert_allclose(pixel(75, 120, right=False), 0, atol=2)
    np.testing.assert_allclose(pixel(30, 15, right=True), 0, atol=2)


def test_a_photograph_that_is_gone_is_left_out(tmp_path, tiny_data):
    first, second = tiny_data.images
    first.path.unlink()
    draw_predictions(tmp_path / "a.png", [(first, []), (second, [])], ("BG", "person"), ImageCache(), 0.5)
    draw_predictions(tmp_path / "b.png", [(second, [])], ("BG", "person"), ImageCache(), 0.5)
    draw_predictions(tmp_path / "c.png", [(first, [])], ("BG", "person"), ImageCache(), 0.5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not (tmp_path / "c.png").exists()
