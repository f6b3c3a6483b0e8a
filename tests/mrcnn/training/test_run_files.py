"""The files of a run: log, checkpoints, compact weights."""

import json

import h5py
import keras
import numpy as np
import pytest

from mrcnn.training.run_files import (
    append_line,
    load_checkpoint,
    read_log,
    save_checkpoint,
    truncate_log,
    write_compact,
)


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
