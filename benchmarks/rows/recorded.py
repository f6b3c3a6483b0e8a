"""The whole pipeline on a recorded file (decode, infer, draw, encode) against the bare engine on the same frames."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import footage, models
from benchmarks.measuring import RowReport, Value, alternate, at_least, per_second, ratios
from benchmarks.options import Options
from pipeline.runtime.inference import segmenter_for
from pipeline.runtime.plan import plan_run
from pipeline.runtime.stream import Stream
from pipeline.segmentation.engine_pool import ANOTHER_ENGINE
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.schema import Settings
from pipeline.sources.factory import make_source
from pipeline.threads.stage import THREAD_PREFIX

TITLE = "whole pipeline on a recorded file, against the bare engine"
TARGET = at_least(0.95)


def measure(options: Options) -> RowReport:
    """ResNet-101 at 1024 px, its own size, on 1280x720 frames, and the small model on 640x360 frames: on the whole
    sample, since opening a file and finishing a recording take about as long as 1.5 frames of it."""
    resnet, quick = models.resnet101(options), options.quick
    small, small_settings = case(
        "small model, 640x360",
        models.best(models.small(), None, options),
        (640, 360),
        60 if quick else footage.CLIP_FRAMES,
        1 if quick else 4,
    )
    large, large_settings = case(
        "ResNet-101, 1024 px, 1280x720",
        models.best(resnet, 1024, options),
        (1280, 720),
        4 if quick else 10,
        1 if quick else 3,
    )
    settings = {"small": small_settings, "resnet101": large_settings, "weights": resnet.what}
    return RowReport("recorded", TITLE, [*large, *small], settings)


def case(
    name: str, model: dict[str, Any], size_wh: tuple[int, int], count: int, rounds: int
) -> tuple[list[Value], dict]:
    """One engine and one size of frames. Bare, the engine gets one frame after the other; in the pipeline, as many side
    by side as it chooses for a file.

    Half of the bare engine's frames come before the whole file and half after it, so that a machine that gets faster or
    slower within a round falls on both alike.

    Args:
        name: of the model, for the table.
        model: settings.
        size_wh: of the frames.
        count: of frames, an even number: with an odd one, an engine of two is idle at the end, which is negligible in
            files of the usual length.
        rounds: number of timings of each side.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        clip = footage.write_clip(Path(folder) / "clip.mp4", footage.frames(count, size_wh))
        pictures = footage.read_clip(clip)
        bare = stack.enter_context(models.opened(model))
        settings = settings_for(model, clip, Path(folder) / "out.mp4")
        segmenter = stack.enter_context(ready(settings))
        first, second = pictures[: count // 2], pictures[count // 2 :]
        run = {
            "first half": lambda: [bare.segment_batch([picture])[0] for picture in first],
            "pipeline": lambda: whole(segmenter, settings, count),
            "second half": lambda: [bare.segment_batch([picture])[0] for picture in second],
        }
        warm_up(bare, segmenter, settings, pictures)
        taken = alternate(run, rounds, warm_ups=0)
        bare_s = [sum(halves) for halves in zip(taken["first half"], taken["second half"], strict=True)]
        descriptions = bare.description, segmenter.description
    values = [
        Value(f"{name}: share of the bare engine's rate", ratios(bare_s, taken["pipeline"]), "", TARGET),
        Value(f"{name}: pipeline", per_second(taken["pipeline"], count), "fps"),
        Value(f"{name}: bare engine, one frame after the other", per_second(bare_s, count), "fps"),
    ]
    return values, {"engine": descriptions[1], "bare engine": descriptions[0], "frames": count, "model": model}


def settings_for(model: dict[str, Any], clip: Path, output: Path) -> Settings:
    """Settings of a run from file to file."""
    return Settings.model_validate(
        {
            "source": {"uri": str(clip)},
            "model": model,
            "output": {"path": str(output)},
            "window": {"mode": "off"},
            "progress": "off",
        }
    )


@contextlib.contextmanager
def ready(settings: Settings) -> Iterator[MaskRCNNSegmenter]:
    """The segmenter that a run with these settings makes for itself, loaded; runs neither load nor close it."""
    with make_source(settings.source) as source:
        plan = plan_run(settings)
        segmenter = segmenter_for(plan, plan.for_source(source.open()))
    segmenter.open()
    models.say(f"ready: {segmenter.description}")
    close, segmenter.close = segmenter.close, lambda: None
    segmenter.open = lambda: None
    yield segmenter
    close()


def warm_up(bare: Segmenter, segmenter: Segmenter, settings: Settings, pictures: list[footage.Image]) -> None:
    """Run everything once. The second engine is made in the background: wait for it."""
    for picture in pictures[:2]:
        bare.segment_batch([picture])[0]
    whole(segmenter, settings, len(pictures))
    for thread in threading.enumerate():
        if thread.name == THREAD_PREFIX + ANOTHER_ENGINE:
            thread.join()


def whole(segmenter: Segmenter, settings: Settings, count: int) -> None:
    """A run from opening the file to the finished recording, with a loaded network."""
    output = Path(settings.output.path or "")
    output.unlink(missing_ok=True)
    with Stream(settings, segmenter=segmenter) as stream:
        presented = sum(1 for _ in stream)
    if presented != count or not output.is_file():
        raise RuntimeError(f"{count} frames were to be recorded, {presented} were")
