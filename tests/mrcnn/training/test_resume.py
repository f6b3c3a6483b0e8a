"""Checkpoints: what goes in comes out, and nothing is lost when writing fails."""

import keras
import numpy as np
import pytest

from mrcnn.training.resume import load_checkpoint, save_checkpoint


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
