"""The process of another package, played by a few lines of Python."""

import ast
import sys

import numpy as np
import pytest

from benchmarks import peer

PLAYED = """
import sys
import numpy as np
frame = np.load(sys.argv[1])
assert frame.shape == (4, 6, 3) and frame[0, 0].tolist() == [3, 2, 1], frame
assert sys.argv[2] == "w.h5" and sys.argv[3] == "1024"
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    print(1.5 + number, flush=True)
"""


def test_each_call_is_a_frame_in_rgb(tmp_path):
    script = tmp_path / "played.py"
    script.write_text(PLAYED)
    image_bgr = np.empty((4, 6, 3), np.uint8)
    image_bgr[:] = (1, 2, 3)
    with peer.Peer(sys.executable, script, image_bgr, "w.h5", 1024) as theirs:
        assert [theirs(), theirs()] == [1.5, 2.5]


def test_an_interpreter_without_the_package_is_told(tmp_path):
    script = tmp_path / "played.py"
    script.write_text("raise SystemExit(1)")
    theirs = peer.Peer(sys.executable, script, np.zeros((4, 6, 3), np.uint8), "w.h5")
    with pytest.raises(RuntimeError, match=r"the other package does not run: try .*played\.py .*frame\.npy w\.h5"):
        theirs.__enter__()
    theirs.__exit__(None, None, None)


def test_the_script_for_matterports_package_is_python_3_7():
    ast.parse(peer.MATTERPORT.read_text(), feature_version=(3, 7))
