"""Saving a still under a free name. Names by kind of source: see test_window.py."""

import errno
import os

import numpy as np

from pipeline.sinks.still import save_still


def test_an_existing_file_stays(tmp_path):
    image = np.full((4, 6, 3), 9, np.uint8)
    saved = [save_still(image, tmp_path / "new", "a") for _ in range(2)]
    assert [path.name for path in saved] == ["a.png", "a-2.png"]
    assert all(path.stat().st_size > 0 for path in saved)


def test_what_cannot_be_saved_is_none_and_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    assert save_still(np.zeros((4, 6, 3), np.uint8), tmp_path / "file", "a") is None
    assert "saving the still" in caplog.text


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, caplog):
    def replace(source, destination):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    assert save_still(np.zeros((4, 6, 3), np.uint8), tmp_path, "a") is None
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []
