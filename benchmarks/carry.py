"""Accuracy of carried masks, and the cost of carrying.

    python -m benchmarks.carry                              # moving cut-outs with exact ground truth, and the cost
    python -m benchmarks.carry --clip clip.mp4              # a real clip: inferring every frame is the ground truth
    python -m benchmarks.carry --clip clip.mp4 --frames 60 --set model.max_dim=512
    python -m benchmarks.carry --pictures out               # also writes frames with the carried masks drawn

Compares carrying with holding the masks still when every 6th frame is inferred: recorded (the result is available when
its frame is shown) and live (each result is six frames late).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.moving_scene import MovingScene, crowd
from benchmarks.playback import LABELS
from pipeline.drawing.masks import paste_mask
from pipeline.drawing.overlay import Overlay
from pipeline.errors import StreamSegmentError
from pipeline.motion.carry import Carrier, make_carrier
from pipeline.records import Frame, Instances, StageTimes, UnredactedFrame
from pipeline.runtime.wiring import KeyframeJoin, Keyframes, SmoothJoin
from pipeline.settings.loading import load_settings, parse_assignment
from pipeline.settings.output_settings import OverlaySettings
from pipeline.settings.presentation_settings import CarryMode, MotionSettings
from pipeline.threads.stage import Overflow, Slot


@dataclass(frozen=True)
class Example:
    """A frame, what a network finds on it, and the ground truth masks, bool (H, W) each."""

    frame: Frame
    found: Instances
    masks: Sequence[NDArray[np.bool_]]


def scene_examples(scene: MovingScene, count: int) -> list[Example]:
    """The first frames of a scene with their exact ground truth."""
    return [Example(*scene.frame(index)) for index in range(count)]


def recorded(examples: Sequence[Example], every: int, carrier: Carrier) -> list[UnredactedFrame]:
    """What a recorded run that infers every Nth frame presents."""
    frames: Slot[Frame] = Slot(len(examples), Overflow.WAIT)
    results: Slot[UnredactedFrame] = Slot(len(examples), Overflow.WAIT)
    for i, example in enumerate(examples):
        frames.put(example.frame)
        if i % every == 0:
            results.put(_result(example))
    join = KeyframeJoin(frames, results, carrier, Keyframes(every), lambda: None)
    return [join.next(1.0) for _ in examples]


def live(examples: Sequence[Example], every: int, late: int, carrier: Carrier) -> list[UnredactedFrame]:
    """What a live run that infers every Nth frame presents, with each result `late` frames after its frame."""
    frames: Slot[Frame] = Slot(len(examples), Overflow.WAIT)
    results: Slot[UnredactedFrame] = Slot(len(examples), Overflow.WAIT)
    join = SmoothJoin(frames, results, carrier)
    shown = []
    for i, example in enumerate(examples):
        if i >= late and (i - late) % every == 0:
            results.put(_result(examples[i - late]))
        frames.put(example.frame)
        shown.append(join.next(1.0))
    return shown


def mean_iou(examples: Sequence[Example], shown: Sequence[UnredactedFrame], first: int = 0) -> float:
    """Mean mask IoU over all true objects of the frames from `first` on; a true object that is not shown counts 0."""
    ious: list[float] = []
    for example, segmented in zip(examples[first:], shown[first:], strict=True):
        drawn = [full_mask(segmented.instances, i, example.frame) for i in range(len(segmented.instances))]
        table = np.array([[_iou(true, mask) for mask in drawn] for true in example.masks if true.any()])
        if table.size:
            rows, columns = linear_sum_assignment(table, maximize=True)
            ious += table[rows, columns].tolist()
        ious += [0.0] * (sum(bool(true.any()) for true in example.masks) - min(table.shape if table.size else (0, 0)))
    return float(np.mean(ious))


def full_mask(instances: Instances, i: int, frame: Frame) -> NDArray[np.bool_]:
    """bool (H, W): the pixels that one object covers."""
    mask, y, x = paste_mask(instances.mask_probs[i], instances.boxes_xyxy[i], frame.height, frame.width, 0.5)
    full = np.zeros((frame.height, frame.width), np.bool_)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return full


@dataclass(frozen=True)
class Comparison:
    """Mean mask IoU of carried and of held masks, and of inferring every frame."""

    name: str
    carried: float
    held: float
    every_frame: float


def compare(examples: Sequence[Example], every: int) -> list[Comparison]:
    """Compares carrying with holding, recorded and live."""
    settings = MotionSettings()
    still = MotionSettings(carry=CarryMode.HOLD)
    best = mean_iou(examples, [_result(example) for example in examples])
    rows = []
    scores = [mean_iou(examples, recorded(examples, every, make_carrier(s, live=False))) for s in (settings, still)]
    rows.append(Comparison(f"recorded, every {every}th frame inferred", *scores, best))
    # Nothing can be shown before the first result: live counts from the time when that has faded in.
    first = every + 8
    scores = [
        mean_iou(examples, live(examples, every, every, make_carrier(s, live=True)), first) for s in (settings, still)
    ]
    rows.append(Comparison(f"live, results {every} frames late", *scores, best))
    return rows


@dataclass(frozen=True)
class Cost:
    """Milliseconds per presented frame, everything included.

    Attributes:
        median_ms, p95_ms: on the clock.
        processor_ms: median of the processor time of all threads, which other programs do not disturb.
        arrival_ms: median on the clock of the frames where a result arrives.
    """

    median_ms: float
    p95_ms: float
    processor_ms: float
    arrival_ms: float


def cost(objects: int = 10, width: int = 1280, height: int = 720, count: int = 60, every: int = 6) -> Cost:
    """Times a live join with carrying, with a new result every Nth frame that is N frames late."""
    examples = scene_examples(MovingScene(width, height, crowd(objects)), count)
    frames: Slot[Frame] = Slot(2, Overflow.WAIT)
    results: Slot[UnredactedFrame] = Slot(2, Overflow.WAIT)
    join = SmoothJoin(frames, results, make_carrier(MotionSettings(), live=True))
    taken, processor, arrivals = [], [], []
    for i, example in enumerate(examples):
        arrives = i >= every and i % every == 0
        if arrives:
            results.put(_result(examples[i - every]))
        frames.put(example.frame)
        began, processor_began = time.perf_counter(), time.process_time()
        join.next(1.0)
        took = 1000 * (time.perf_counter() - began)
        if i > every:
            taken.append(took)
            processor.append(1000 * (time.process_time() - processor_began))
            arrivals += [took] if arrives else []
    return Cost(
        *(float(v) for v in (np.median(taken), np.percentile(taken, 95), np.median(processor), np.median(arrivals)))
    )


def clip_examples(path: str, count: int, assignments: Sequence[str]) -> list[Example]:
    """Frames of a clip with what the network finds on each; its masks are the ground truth."""
    from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
    from pipeline.sources.factory import make_source

    overrides = dict((key, ("--set", value)) for key, value in map(parse_assignment, assignments))
    overrides["source", "uri"] = ("--clip", path)
    settings = load_settings(None, overrides)
    segmenter = MaskRCNNSegmenter.of(settings.model)
    source = make_source(settings.source, time.monotonic)
    source.open()
    segmenter.open()
    examples: list[Example] = []
    try:
        while len(examples) < count and (frame := source.read()) is not None:
            found = segmenter.segment_batch([frame.image_bgr])[0]
            examples.append(Example(frame, found, [full_mask(found, i, frame) for i in range(len(found))]))
            print(f"\r{len(examples)} of {count} frames inferred", end="", file=sys.stderr, flush=True)
    finally:
        source.close()
        segmenter.close()
    print(file=sys.stderr)
    return examples


def write_pictures(folder: Path, examples: Sequence[Example], every: int) -> None:
    """Frames halfway between results with the carried masks drawn on them, and with held ones for comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    overlay = Overlay(OverlaySettings(), LABELS)
    for mode in CarryMode:
        carrier = make_carrier(MotionSettings(carry=mode), live=True)
        for i, segmented in enumerate(live(examples, every, every, carrier)):
            if i % 5 == 0:
                drawn = overlay.draw(segmented.frame.image_bgr, segmented.instances)
                cv2.imwrite(str(folder / f"{mode.value}_{i:03d}.png"), drawn)


def _result(example: Example) -> UnredactedFrame:
    times = StageTimes(example.frame.captured_at_s, example.frame.captured_at_s, example.frame.captured_at_s)
    return UnredactedFrame(example.frame, example.found, example.frame.index, times)


def _iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((mask | other).sum())
    return int((mask & other).sum()) / union if union else 0.0


def _print(rows: Sequence[Comparison]) -> None:
    print(f"  {'mean mask IoU':42}{'carried':>9}{'held':>9}{'gain':>9}{'each frame':>12}")
    for row in rows:
        gain = 100 * (row.carried - row.held)
        print(f"  {row.name:42}{row.carried:9.3f}{row.held:9.3f}{gain:+8.1f}p{row.every_frame:12.3f}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.carry", description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=6, help="infer every Nth frame (default: 6)")
    parser.add_argument("--frames", type=int, default=90, help="frames of each sequence (default: 90)")
    parser.add_argument("--clip", help="a video; needs weights")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings for --clip")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write frames with masks drawn")
    arguments = parser.parse_args(argv)
    try:
        if arguments.clip:
            examples = clip_examples(arguments.clip, arguments.frames, arguments.set)
            print(f"{arguments.clip}: {len(examples)} frames, the network on every frame is the ground truth")
        else:
            examples = scene_examples(MovingScene(), arguments.frames)
            print(f"moving cut-outs, 640x360, {len(examples)} frames, exact truth")
    except StreamSegmentError as error:
        print(f"benchmarks.carry: error: {error}", file=sys.stderr)
        return error.exit_code
    _print(compare(examples, arguments.every))
    if arguments.pictures:
        write_pictures(arguments.pictures, examples, arguments.every)
    if not arguments.clip:
        taken = cost(every=arguments.every)
        print(
            f"cost a frame, 10 objects, 1280x720: median {taken.median_ms:.1f} ms, p95 {taken.p95_ms:.1f} ms, "
            f"where a result arrives {taken.arrival_ms:.1f} ms; processor time, median {taken.processor_ms:.1f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
