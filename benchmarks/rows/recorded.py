"""The whole pipeline on a recorded file (decode, infer, draw, encode) against the bare engine on the same frames."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import footage, models
from benchmarks.measuring import RowReport, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options
from pipeline.maskrcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings import Settings
from pipeline.stream import Stream

TITLE = "whole pipeline on a recorded file, against the bare engine"
TARGET = at_least(0.95)


def measure(options: Options) -> RowReport:
    """ResNet-101 at 1024 px, its own size, on 1280x720 frames, and the small model on 640x360 frames."""
    resnet, quick = models.resnet101(options), options.quick
    small, small_settings = case(
        "small model, 640x360",
        models.best(models.small(), None, options),
        (640, 360),
        60 if quick else 150,
        1 if quick else 5,
    )
    large, large_settings = case(
        "ResNet-101, 1024 px, 1280x720",
        models.best(resnet, 1024, options),
        (1280, 720),
        4 if quick else 20,
        1 if quick else 3,
    )
    settings = {"small": small_settings, "resnet101": large_settings, "weights": resnet.what}
    return RowReport("recorded", TITLE, [*large, *small], settings)


def case(
    name: str, model: dict[str, Any], size_wh: tuple[int, int], count: int, rounds: int
) -> tuple[list[Value], dict]:
    """One engine and one size of frames."""
    with tempfile.TemporaryDirectory() as folder:
        clip = footage.write_clip(Path(folder) / "clip.mp4", footage.frames(count, size_wh))
        pictures = footage.read_clip(clip)
        with models.opened(model) as segmenter:
            close, segmenter.close = segmenter.close, lambda: None
            segmenter.open = lambda: None  # each run of the pipeline finds it ready
            run = {
                "bare": lambda: [segmenter.segment(picture) for picture in pictures],
                "pipeline": lambda: whole(segmenter, model, clip, Path(folder) / "out.mp4", len(pictures)),
            }
            taken = alternate(run, rounds)
            segmenter.close = close
            description = segmenter.description
    values = [
        Value(f"{name}: share of the bare engine's rate", ratios(taken["bare"], taken["pipeline"]), "", TARGET),
        Value(f"{name}: pipeline", per_second(taken["pipeline"], count), "fps"),
        Value(f"{name}: bare engine", per_second(taken["bare"], count), "fps"),
    ]
    return values, {"engine": description, "frames": count, "model": model}


def whole(segmenter: MaskRCNNSegmenter, model: dict[str, Any], clip: Path, output: Path, count: int) -> None:
    """From opening the file to the finished recording. The network is loaded already."""
    settings = Settings.model_validate(
        {
            "source": {"uri": str(clip)},
            "model": model,
            "output": {"path": str(output)},
            "window": {"mode": "off"},
            "progress": "off",
        }
    )
    output.unlink(missing_ok=True)
    with Stream(settings, segmenter=segmenter) as stream:
        presented = sum(1 for _ in stream)
    if presented != count or not output.is_file():
        raise RuntimeError(f"{count} frames were to be recorded, {presented} were")
