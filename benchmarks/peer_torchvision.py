"""Runs torchvision's Mask R-CNN in an interpreter that has it: one frame for each line of standard input.

    /path/to/python peer_torchvision.py FRAME.npy STATE.pkl MODEL SCORE THREADS PRECISION

MODEL is a function of torchvision.models.detection; STATE.pkl holds its weights, a dictionary of arrays; SCORE is the
least score of a detection; PRECISION is "float32", or "bfloat16" with channels last. Prints "ready" when the model is
loaded; then, for every line on standard input, detects on the frame (uint8 RGB), pastes the masks, and prints the
seconds. Imports nothing of this project.
"""

import contextlib
import os
import pickle
import sys
import time


def main(frame_path, state_path, name, score, threads, precision):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of libraries apart from the answers
    import numpy as np
    import torch
    import torchvision

    torch.set_num_threads(int(threads))
    build = getattr(torchvision.models.detection, name)
    model = build(weights=None, weights_backbone=None, num_classes=91, box_score_thresh=float(score))
    if name.endswith("_fpn"):  # published weights of the first version are built with frozen normalization, epsilon 0

        def frozen(channels):
            return torchvision.ops.misc.FrozenBatchNorm2d(channels, eps=0.0)

        body = torchvision.models.resnet50(weights=None, norm_layer=frozen)
        model.backbone = torchvision.models.detection.backbone_utils._resnet_fpn_extractor(body, 5)
    with open(state_path, "rb") as file:
        state = {key: torch.from_numpy(array) for key, array in pickle.load(file).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    wrong = [key for key in (*missing, *unexpected) if not key.endswith("num_batches_tracked")]
    if wrong:
        raise SystemExit("the weights do not fit: " + ", ".join(wrong[:5]))
    model.eval()
    frame = torch.from_numpy(np.load(frame_path)).permute(2, 0, 1).float() / 255.0
    arithmetic = contextlib.nullcontext()
    if precision == "bfloat16":
        model = model.to(memory_format=torch.channels_last)
        arithmetic = torch.autocast("cpu", torch.bfloat16)
    with torch.inference_mode(), arithmetic:
        model([frame])
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            model([frame])
            print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
