"""Runs Matterport's package in an interpreter that has it: one frame for each line of standard input.

    /path/to/python3.7 peer_matterport.py FRAME.npy WEIGHTS.h5 MAX_DIM

Prints "ready" when the model is loaded; then, for every line on standard input, detects on the frame (uint8 RGB) and
prints the seconds. Runs under Python 3.7 and imports nothing of this project.
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(frame_path, weights, max_dim):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of libraries apart from the answers
    import numpy as np

    from mrcnn.config import Config
    from mrcnn.model import MaskRCNN

    class InferenceConfig(Config):
        NAME = "benchmark"
        NUM_CLASSES = 81
        GPU_COUNT = IMAGES_PER_GPU = 1
        IMAGE_MAX_DIM = int(max_dim)
        IMAGE_MIN_DIM = int(max_dim) * 800 // 1024

    model = MaskRCNN("inference", InferenceConfig(), os.path.dirname(os.path.abspath(frame_path)))
    model.load_weights(weights, by_name=True)
    frame = np.load(frame_path)
    model.detect([frame])
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        model.detect([frame])
        print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
