"""Weight files of half the size."""

import json

import h5py
import numpy as np
import pytest

from mrcnn.training.compact import write_compact


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
