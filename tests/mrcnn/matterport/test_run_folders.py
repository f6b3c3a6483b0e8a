"""Folders and files of training runs."""

import os
import re

import pytest

from mrcnn.matterport.run_folders import find_last, paths, position


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/logs/coco20171029T2315/mask_rcnn_coco_0001.h5", ("20171029T2315", 1)),
        ("shapes-2x20261123T1205/mask_rcnn_shapes-2x_0120.h5", ("20261123T1205", 120)),
        ("a1234567820261123T1205/mask_rcnn_a12345678_12345.h5", ("20261123T1205", 12345)),
        (r"C:\logs\small20260101T0000\mask_rcnn_small_0007.h5", ("20260101T0000", 7)),
    ],
)
def test_a_runs_file_says_when_it_began_and_how_far_it_is(path, expected):
    assert position(path) == expected


@pytest.mark.parametrize(
    "path", [None, "mask_rcnn_coco.h5", "/logs/coco/mask_rcnn_coco_0001.h5", "/logs/coco20171029T2315/last_0001.h5"]
)
def test_any_other_file_begins_a_run_now(path):
    stamp, epoch = position(path)
    assert re.fullmatch(r"20\d{6}T[012]\d[0-5]\d", stamp)
    assert epoch == 0


def test_paths_and_position_are_inverse(tmp_path):
    folder, checkpoint = paths(tmp_path, "Shapes", "20261123T1205")
    assert folder == str(tmp_path / "shapes20261123T1205")
    assert os.path.dirname(checkpoint) == folder
    assert position(checkpoint.format(epoch=31)) == ("20261123T1205", 31)


def test_find_last(tmp_path):
    older, newer = tmp_path / "small20260101T0000", tmp_path / "small20260202T0000"
    with pytest.raises(FileNotFoundError, match="no training run with a name that begins with 'small'"):
        find_last(tmp_path, "Small")
    for folder in (newer, older, tmp_path / "other20270101T0000"):
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match="no weight file"):
        find_last(tmp_path, "Small")
    for name in ("mask_rcnn_small_0002.h5", "mask_rcnn_small_0010.h5", "mask_rcnn_small_0011.h5.x.part", "events.out"):
        (newer / name).touch()
    assert find_last(tmp_path, "Small") == str(newer / "mask_rcnn_small_0010.h5")
