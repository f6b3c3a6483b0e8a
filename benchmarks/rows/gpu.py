"""One GPU: ResNet-101, 1024 px, one frame at a time, half precision, frames in the host's memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import footage, gpu_probe, models
from benchmarks.agreement_targets import SAME_CANVAS_IOU, least_percent
from benchmarks.engine_rate import FRAME_WH
from benchmarks.footage import Image
from benchmarks.measuring import RowReport, Spread, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options
from pipeline.evaluation.agreement import agreement
from pipeline.segmentation.backend import prepare_backend
from pipeline.settings.model_settings import Backend, Device

TITLE = "one GPU: ResNet-101, 81 classes, 1024 px, 1280x720 frames, half precision"
FRAMES = 30


def measure(options: Options) -> RowReport:
    """Under the backend of KERAS_BACKEND, alternating with torchvision's model if it is installed with CUDA."""
    device = prepare_backend(Backend.AUTO, Device.GPU)
    weights = models.resnet101(options)
    pictures = footage.frames(FRAMES, FRAME_WH, every=9)
    half = {
        **models.settings_for(weights, 1024),
        "device": "gpu",
        "precision": "float16",
        **options.model,
    }
    square = {**half, "canvas": "square"}
    float32 = {**models.keras_square(weights, 1024), "device": "gpu"}
    notes = [f"Keras backend: {device.backend.value}", f"weights: {weights.what}"]
    with contextlib.ExitStack() as stack:
        tight = stack.enter_context(models.opened(half))
        full = stack.enter_context(models.opened(square))
        exact = stack.enter_context(models.opened(float32))
        sides: dict[str, Callable[[], Any]] = {
            "tight": lambda: [tight.segment_batch([picture])[0] for picture in pictures],
            "square": lambda: [full.segment_batch([picture])[0] for picture in pictures],
        }
        theirs = torchvision_side(pictures, notes)
        if theirs is not None:
            sides["torchvision"] = theirs
        taken = alternate(sides, options.rounds(7), warm_ups=2)
        few = pictures[::6]
        reference, found = ([engine.segment_batch([picture])[0] for picture in few] for engine in (exact, full))
        matched = agreement(reference, found, SAME_CANVAS_IOU)
        description = tight.description
    values = [
        Value(
            "frames a second",
            per_second(taken["tight"], FRAMES),
            "fps",
            at_least(100) if "H100" in device.device_name else None,
        ),
        Value("on the square canvas", per_second(taken["square"], FRAMES), "fps"),
        *share_of_peak(device.device_name, taken["square"], FRAMES),
        *against_torchvision(taken),
        Value(
            "objects as the square float32 engine finds them, on the same canvas",
            Spread.one(100 * matched.f1),
            "%",
            at_least(least_percent(description)),
            matched.text,
        ),
    ]
    settings = {"engine": description, "card": device.device_name, "backend": device.backend.value, "model": half}
    return RowReport("gpu", TITLE, values, settings, notes)


def share_of_peak(card: str, seconds: list[float], frames: int) -> list[Value]:
    """Achieved operations a second on the square canvas by the cost model, and as a share of the card's peak."""
    achieved = Spread.of([gpu_probe.FRAME_GFLOP * frames / s / 1000 for s in seconds])
    note = f"{gpu_probe.FRAME_GFLOP:g} GFLOP a frame"
    values = [Value("achieved on the square canvas", achieved, "TFLOP/s", note=note)]
    peak = gpu_probe.peak_tflops(card)
    if peak is not None:
        share = Spread.of([100 * gpu_probe.FRAME_GFLOP * frames / s / 1000 / peak for s in seconds])
        values.append(Value("share of the card's peak", share, "%", note=f"peak {peak:g} TFLOP/s"))
    return values


def against_torchvision(taken: dict[str, list[float]]) -> list[Value]:
    """The speed-up over torchvision's model, if that ran."""
    if "torchvision" not in taken:
        return []
    ratio = ratios(taken["torchvision"], taken["tight"])
    return [
        Value("times as fast as torchvision's maskrcnn_resnet50_fpn", ratio, "x", at_least(2)),
        Value("torchvision's maskrcnn_resnet50_fpn", per_second(taken["torchvision"], FRAMES), "fps"),
    ]


def torchvision_side(pictures: list[Image], notes: list[str]) -> Callable[[], Any] | None:
    """Its detector on the same frames at the same size, in half precision by autocast, results brought to the host."""
    try:
        import torch
        import torchvision
    except ImportError:
        notes.append("torchvision: not measured, it is not installed")
        return None
    if not torch.cuda.is_available():
        notes.append("torchvision: not measured, this PyTorch sees no GPU")
        return None
    height, width = pictures[0].shape[:2]
    detector = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=1024 * height // width, max_size=1024
    )
    detector = detector.eval().cuda()
    notes.append(
        f"torchvision {torchvision.__version__}, PyTorch {torch.__version__}: random weights, autocast float16"
    )

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            for picture in pictures:
                rgb = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1])).cuda()
                found = detector([rgb.permute(2, 0, 1).float() / 255])[0]
                for tensor in found.values():
                    tensor.cpu()

    return run
