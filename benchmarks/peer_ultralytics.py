"""Runs a YOLO segmentation model of Ultralytics in an interpreter that has it: one frame for each line of its input.

    /path/to/python peer_ultralytics.py FRAME.npy MODEL HEIGHT WIDTH THREADS RUNTIME PRECISION

MODEL is a name such as "yolo11n-seg", which gets random weights: none of its scores reaches the usual threshold, which
spares it overlaps and masks. HEIGHT and WIDTH are of the network's input. RUNTIME is "openvino", with PRECISION "auto"
(what OpenVINO takes by itself), "float32" or "int8" (calibrated on the frame), or "torch", with "float32" or "bfloat16"
(with channels last). Prints "ready" when the model is loaded; then, for every line on standard input, the seconds of
one `predict` on the frame (uint8 RGB). Imports nothing of this project, and writes into the current folder.
"""

import contextlib
import os
import sys
import time

CALIBRATION_COPIES = 8


def main(frame_path, name, height, width, threads, runtime, precision):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of libraries apart from the answers
    os.environ["YOLO_OFFLINE"] = "True"
    import numpy as np
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    frame = np.ascontiguousarray(np.load(frame_path)[..., ::-1])  # Ultralytics takes BGR
    size = [int(height), int(width)]
    model = YOLO(f"{name}.yaml")
    arithmetic = contextlib.nullcontext()
    if runtime == "openvino":
        quantized = {"int8": True, "data": calibration_set(frame)} if precision == "int8" else {}
        exported = model.export(format="openvino", imgsz=size, **quantized)
        if precision == "float32":
            compile_in_float32()
        model = YOLO(exported, task="segment")
    elif precision == "bfloat16":
        model.model.to(memory_format=torch.channels_last)
        arithmetic = torch.autocast("cpu", torch.bfloat16)

    with arithmetic:
        model.predict(frame, imgsz=size, verbose=False)
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            model.predict(frame, imgsz=size, verbose=False)
            print(time.perf_counter() - began, file=answers, flush=True)


def compile_in_float32():
    """OpenVINO takes bfloat16 where the processor has it, and Ultralytics has no setting for that."""
    import openvino

    compile_model = openvino.Core.compile_model

    def in_float32(core, model, device_name=None, config=None, **more):
        return compile_model(core, model, device_name, {**(config or {}), "INFERENCE_PRECISION_HINT": "f32"}, **more)

    openvino.Core.compile_model = in_float32


def calibration_set(frame):
    """A data set of the frame, as Ultralytics wants it for int8; returns the path of its description."""
    import cv2

    os.makedirs("set/images", exist_ok=True)
    os.makedirs("set/labels", exist_ok=True)
    for number in range(CALIBRATION_COPIES):
        cv2.imwrite(f"set/images/{number}.png", frame)
        with open(f"set/labels/{number}.txt", "w", encoding="utf-8") as labels:
            labels.write("0 0.2 0.2 0.4 0.2 0.4 0.6 0.2 0.6\n")
    with open("set.yaml", "w", encoding="utf-8") as description:
        description.write(f"path: {os.getcwd()}/set\ntrain: images\nval: images\nnames: {{0: person}}\n")
    return "set.yaml"


if __name__ == "__main__":
    main(*sys.argv[1:])
