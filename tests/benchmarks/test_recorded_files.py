"""Recordings are decoded, lines are read."""

import cv2
import numpy as np
import pytest

from benchmarks.recorded_files import decoded, whole_lines
from benchmarks.soak_verdict import Recording


def test_recordings_are_decoded_and_counted(tmp_path):
    path = tmp_path / "seven.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for number in range(7):
        video.write(np.full((48, 64, 3), 30 * number, np.uint8))
    video.release()
    assert decoded(path) == Recording("seven.mp4", 7, 7)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[:200])
    assert decoded(broken).decoded == 0
    assert decoded(broken).problem.startswith("cannot be opened")


def test_lines_that_are_no_json_are_not_counted_over(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert whole_lines(path) == 0
    path.write_text('{"frame": 0}\n{"frame": 1}\n')
    assert whole_lines(path) == 2
    path.write_text('{"frame": 0}\n{"fra')
    with pytest.raises(ValueError, match="Unterminated"):
        whole_lines(path)
