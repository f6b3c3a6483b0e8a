"""The process of the original package, played by a few lines of Python."""

import sys

import numpy as np
import pytest

from benchmarks import original, original_mrcnn

PLAYED = """
import sys
import numpy as np
frame = np.load(sys.argv[2])
assert frame.shape == (4, 6, 3) and frame[0, 0].tolist() == [3, 2, 1], frame
assert sys.argv[1] == "w.h5" and sys.argv[3] == "1024"
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    print(1.5 + number, flush=True)
"""


def test_each_call_is_a_frame_in_rgb(monkeypatch, tmp_path):
    script = tmp_path / "played.py"
    script.write_text(PLAYED)
    monkeypatch.setattr(original, "SCRIPT", script)
    image_bgr = np.empty((4, 6, 3), np.uint8)
    image_bgr[:] = (1, 2, 3)
    with original.Original(sys.executable, "w.h5", image_bgr, 1024) as theirs:
        assert [theirs(), theirs()] == [1.5, 2.5]


def test_an_interpreter_without_the_package_is_told(monkeypatch, tmp_path):
    script = tmp_path / "played.py"
    script.write_text("raise SystemExit(1)")
    monkeypatch.setattr(original, "SCRIPT", script)
    theirs = original.Original(sys.executable, "w.h5", np.zeros((4, 6, 3), np.uint8), 1024)
    with pytest.raises(RuntimeError, match=r"the original does not run: try .*played\.py w\.h5"):
        theirs.__enter__()
    theirs.__exit__(None, None, None)


def test_the_script_is_python_3_7():
    import ast
    from pathlib import Path

    ast.parse(Path(original_mrcnn.__file__).read_text(), feature_version=(3, 7))
