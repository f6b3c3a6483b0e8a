"""Runs torchvision's Mask R-CNN in an interpreter that has it: one frame for each line of standard input.

    /path/to/python peer_torchvision.py FRAME.npy STATE.npz MODEL SCORE SHORT LONG THREADS

MODEL is a function of torchvision.models.detection; STATE.npz holds its weights, SCORE is the least score of a
detection, SHORT and LONG limit the sides of the resized frame. Prints "ready" when the model is loaded; then, for every
line on standard input, detects on the frame (uint8 RGB), pastes the masks, and prints the seconds. Imports nothing of
this project.
"""

import os
import sys
import time


def main(frame_path, state_path, name, score, short, long, threads):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of libraries apart from the answers
    import numpy as np
    import torch
    import torchvision

    torch.set_num_threads(int(threads))
    sizes = {"min_size": int(short), "max_size": int(long)}
    build = getattr(torchvision.models.detection, name)
    model = build(weights=None, weights_backbone=None, num_classes=91, box_score_thresh=float(score), **sizes)
    with np.load(state_path) as state:
        tensors = {key: torch.from_numpy(state[key]) for key in state.files}
    if name.endswith("_fpn"):  # published weights of the first version are built with frozen normalization, epsilon 0

        def frozen(channels):
            return torchvision.ops.misc.FrozenBatchNorm2d(channels, eps=0.0)

        body = torchvision.models.resnet50(weights=None, norm_layer=frozen)
        model.backbone = torchvision.models.detection.backbone_utils._resnet_fpn_extractor(body, 5)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    wrong = [key for key in (*missing, *unexpected) if not key.endswith("num_batches_tracked")]
    if wrong:
        raise SystemExit("the weights do not fit: " + ", ".join(wrong[:5]))
    model.eval()
    frame = torch.from_numpy(np.load(frame_path)).permute(2, 0, 1).float() / 255.0
    with torch.inference_mode():
        model([frame])
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            model([frame])
            print(time.perf_counter() - began, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
