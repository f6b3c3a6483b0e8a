"""How much the outlines of weight files flicker on videos of people, by themselves and with the program's smoothing.

    python -m benchmarks.flicker --clips DIR                         # the shipped model, where its recall is 0.99
    python -m benchmarks.flicker --clips DIR --weights A.h5,B.h5     # several, each where its recall is 0.99
    python -m benchmarks.flicker --clips DIR --min-score 0.7         # at a score threshold

DIR holds four clips of "Sample Videos" of the Intel IoT Developer Kit (github.com/intel-iot-devkit/sample-videos, CC BY
4.0), which are not in this repository. Which people they show when was entered by hand (`CLIPS`).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av

from pipeline.commands.program import Parser, names
from pipeline.errors import InputError, StreamSegmentError
from pipeline.evaluation.agreement import RunLength, frame_masks
from pipeline.evaluation.flicker import Flicker, flicker, threshold_for_recall
from pipeline.records import Instances
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import ModelSettings, Precision
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.tracker import Tracker

Stretch = tuple[float, float, int]
"""First and last second, and the number of people in all of its frames."""

CLIPS: dict[str, tuple[Stretch, ...]] = {
    "one-by-one-person-detection.mp4": (
        (60.0, 69.2, 1),
        (70.6, 74.2, 0),
        (75.2, 86.0, 1),
        (87.4, 92.0, 0),
        (92.8, 119.0, 1),
        (120.6, 123.0, 0),
        (124.2, 135.0, 1),
        (136.4, math.inf, 0),
    ),
    "sign-again.mkv": ((0.0, math.inf, 1),),
    "sign-sister.mkv": ((0.0, math.inf, 1),),
    "sign-brother.mkv": ((0.0, math.inf, 1),),
}
"""People enter and leave between the stretches."""

LEAST_SCORE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """The detections in a clip.

    Attributes:
        name: of the file.
        size_hw: of its frames.
        times_s: of each frame.
        present: people in each frame; None where they enter or leave.
        detections: of each frame, from `LEAST_SCORE` on, best first.
        masks: of the detections.
    """

    name: str
    size_hw: tuple[int, int]
    times_s: tuple[float, ...]
    present: tuple[int | None, ...]
    detections: tuple[Instances, ...]
    masks: tuple[tuple[RunLength, ...], ...]

    def unsmoothed(self, threshold: float) -> Flicker:
        """Of the detections from this score on."""
        shown = [
            [mask for mask, score in zip(masks, found.scores, strict=True) if score >= threshold]
            for masks, found in zip(self.masks, self.detections, strict=True)
        ]
        return flicker(shown, self.present)

    def smoothed(self, threshold: float, settings: TrackingSettings) -> Flicker:
        """Of what a run shows: tracked, steadied, and held where detections are missing."""
        low = threshold if settings.low_score is None else min(threshold, settings.low_score)
        detections, tracker = DetectionFilter(high_score=threshold, low_score=low), Tracker(settings, threshold)
        shown = []
        for time_s, found in zip(self.times_s, self.detections, strict=True):
            instances = tracker.update(time_s, detections.high_and_low(found), self.size_hw)
            shown.append(frame_masks(instances, self.size_hw))
        return flicker(shown, self.present)


def present_at(stretches: Sequence[Stretch], time_s: float) -> int | None:
    """The number of people at a time; None outside the stretches."""
    return next((count for first, last, count in stretches if first <= time_s <= last), None)


def detect(path: Path, stretches: Sequence[Stretch], segmenter: Segmenter) -> Clip:
    """Run a segmenter over the frames of a clip, from the first stretch on."""
    times, detections, masks, size_hw = [], [], [], (0, 0)
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            if picture.time is None or picture.time < stretches[0][0]:
                continue
            frame_bgr = picture.to_ndarray(format="bgr24")
            size_hw = frame_bgr.shape[:2]
            found = segmenter.segment_batch([frame_bgr])[0]
            times.append(picture.time)
            detections.append(found)
            masks.append(tuple(frame_masks(found, size_hw)))
    present = tuple(present_at(stretches, time_s) for time_s in times)
    return Clip(path.name, size_hw, tuple(times), present, tuple(detections), tuple(masks))


def total(clips: Sequence[Clip], measure: Callable[[Clip], Flicker]) -> Flicker:
    """The sum over the clips."""
    return sum(map(measure, clips), Flicker())


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = Parser(prog="python -m benchmarks.flicker", description="Measures how much outlines flicker.")
    parser.add_argument("--clips", metavar="DIR", type=Path, required=True, help=f"folder of {', '.join(CLIPS)}")
    parser.add_argument("--weights", metavar="A,B", type=names, default=("person",), help="models or weight files")
    parser.add_argument("--recall", type=float, default=0.99, help="compare at this recall, 0..1 (default: 0.99)")
    parser.add_argument("--min-score", type=float, help="compare at this score threshold instead, 0..1")
    try:
        return _main(parser.parse_args(argv))
    except StreamSegmentError as error:
        print(f"flicker: error: {error}", file=sys.stderr)
        return error.exit_code


def _main(arguments: argparse.Namespace) -> int:
    for name in CLIPS:
        if not (arguments.clips / name).is_file():
            raise InputError(f"--clips {arguments.clips}: there is no {name} in it")
    print(f"{'':<34}{'threshold':>10}{'recall':>8}{'change':>8}{'of masks':>10}{'vanished':>10}{'false alarms':>14}")
    for weights in arguments.weights:
        model = ModelSettings(weights=weights, min_score=LEAST_SCORE, precision=Precision.FLOAT32)
        segmenter = MaskRCNNSegmenter.of(model)
        segmenter.open()
        with closing(segmenter):
            clips = [detect(arguments.clips / name, stretches, segmenter) for name, stretches in CLIPS.items()]
        _report(Path(weights).name, clips, arguments.min_score, arguments.recall)
    return 0


def _report(name: str, clips: Sequence[Clip], threshold: float | None, recall: float) -> None:
    def unsmoothed(score: float) -> Flicker:
        return total(clips, lambda clip: clip.unsmoothed(score))

    chosen = threshold_for_recall(unsmoothed, recall) if threshold is None else threshold
    rows = {clip.name[:16]: clip.unsmoothed(chosen) for clip in clips}
    rows["all"] = unsmoothed(chosen)
    rows["all, smoothed"] = total(clips, lambda clip: clip.smoothed(chosen, TrackingSettings()))
    for of, found in rows.items():
        print(
            f"{f'{name[:16]}, {of}':<34}{chosen:>10.2f}{found.recall:>8.3f}{found.change:>8.4f}"
            f"{found.change_of_masks:>10.4f}{found.vanished:>10}{found.false_alarms:>14}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
