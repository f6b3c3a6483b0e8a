"""The shipped model with everything around it, beside `predict` of Ultralytics' small models at the same input size."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import footage, models
from benchmarks.measuring import RowReport, Spread, Value, alternate, at_least, ratios
from benchmarks.options import Options
from benchmarks.peer import ULTRALYTICS, Peer
from benchmarks.playback import Screen
from benchmarks.rows.recorded import ready, settings_for
from pipeline.runtime.stream import Stream
from pipeline.segmentation.canvas import fit_canvas
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import ModelSettings
from pipeline.settings.schema import Settings

TITLE = "the small shipped model, decoded, inferred, drawn, beside predict of Ultralytics' models, 640x360 frames"
FRAME_WH = (640, 360)
FRAMES = 100
PEERS = ("yolo11n-seg", "yolo26n-seg")
BY_ITSELF = "auto"
"""What OpenVINO takes unless it is told: bfloat16 where the processor has it, else float32."""
TARGETS = {"yolo11n-seg": at_least(1.2)}
NOTE = (
    "Ultralytics' models have random weights and find nothing, which spares them overlaps and masks; ours finds, "
    "tracks and draws people. A frame of ours is a share of a whole run, in which stages overlap"
)


def measure(options: Options) -> RowReport:
    """Milliseconds a frame in each precision; where an interpreter has Ultralytics, its models by turns with ours."""
    count = 20 if options.quick else FRAMES
    pictures = footage.frames(count, FRAME_WH)
    chosen = models.settings_for(models.small(), None, engine="openvino")
    names = models.precisions(chosen)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        clip = footage.write_clip(Path(folder) / "clip.mp4", pictures)
        sides: dict[str, Callable[[], Any]] = {}
        for precision in names:
            settings = _settings(clip, {**chosen, "precision": precision})
            segmenter = stack.enter_context(ready(settings))
            sides[precision] = lambda segmenter=segmenter, settings=settings: _whole(segmenter, settings, count)
        if options.ultralytics is not None:
            height, width = _canvas_hw(chosen)
            for peer in PEERS:
                for label, how in _ways().items():
                    arguments = peer, height, width, Machine().cores(), *how
                    theirs = Peer(options.ultralytics, ULTRALYTICS, pictures[0], *arguments)
                    opened = stack.enter_context(theirs)
                    sides[f"{peer}, {label}"] = lambda opened=opened: [opened() for _ in range(count)]
        taken = alternate(sides, options.rounds(7))
    values = [
        Value(f"a frame, {label}", Spread.of([1000 * seconds / count for seconds in all_s]), "ms")
        for label, all_s in taken.items()
    ]
    if options.ultralytics is not None:
        for peer in PEERS:
            for precision in names:
                ratio = ratios(taken[f"{peer}, {_same_class(precision)}"], taken[precision])
                values.append(Value(f"times as fast as {peer}, {precision}", ratio, "x", TARGETS.get(peer)))
    return RowReport("yolo", TITLE, values, {"model": chosen, "frames": count}, [NOTE])


def _settings(clip: Path, model: dict[str, Any]) -> Settings:
    settings = settings_for(model, clip, clip.with_name("none.mp4"))
    return settings.model_copy(update={"output": settings.output.model_copy(update={"path": None})})


def _whole(segmenter: Segmenter, settings: Settings, count: int) -> None:
    """A run over the clip, drawn as for a window."""
    stream = Stream(settings, segmenter=segmenter)
    stream.add_sink(Screen())
    with stream:
        presented = sum(1 for _ in stream)
    if presented != count:
        raise RuntimeError(f"{count} frames were to be presented, {presented} were")


def _canvas_hw(settings: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of the network's input for these frames."""
    model = read_model(ModelSettings.model_validate(settings))
    return fit_canvas(FRAME_WH[1], FRAME_WH[0], model.config, model.settings.canvas).canvas_hw


def _ways() -> dict[str, tuple[str, str]]:
    """Runtime and precision of Ultralytics' models, by label."""
    openvino = {f"OpenVINO {precision}": ("openvino", precision) for precision in (BY_ITSELF, "float32", "int8")}
    return {**openvino, **{f"PyTorch {precision}": ("torch", precision) for precision in ("float32", "bfloat16")}}


def _same_class(precision: str) -> str:
    """The label of what is computed in this precision there."""
    return f"OpenVINO {BY_ITSELF if precision == 'bfloat16' else precision}"
