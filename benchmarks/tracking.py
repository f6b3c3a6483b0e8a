"""How well ids stay on their objects, how calm outlines are, and what tracking costs.

    python -m benchmarks.tracking                  # quality over six seeds, and the cost
    python -m benchmarks.tracking --seeds 20
    python -m benchmarks.tracking --pictures out   # also writes frames with ids, masks and places drawn

The sequence has exact ground truth (tracking_sequence.py); the scores are TrackEval's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking_scores import Scores, evaluate
from benchmarks.tracking_sequence import (
    LABELS,
    SIZE_HW,
    Noise,
    TrueFrame,
    detect,
    keep_frames,
    render,
    true_frames,
)
from pipeline.drawing.overlay import Overlay
from pipeline.records import Instances
from pipeline.settings.output_settings import ColorBy, OverlaySettings
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.track import BoxKalmanFilter
from pipeline.tracking.tracker import Tracker

HIGH_SCORE = 0.6
PICTURE_EVERY = 20


@contextmanager
def motion_switched_off() -> Iterator[None]:
    """Disables the motion model: every object is predicted where it was last detected."""
    update = BoxKalmanFilter.update

    def stand_still(self: BoxKalmanFilter, box_xyxy: NDArray[np.floating]) -> None:
        update(self, box_xyxy)
        self.velocity = np.zeros(4)

    BoxKalmanFilter.update = stand_still
    try:
        yield
    finally:
        BoxKalmanFilter.update = update


def shown_by_tracker(
    truth: Sequence[TrueFrame], seed: int, settings: TrackingSettings, noise: Noise
) -> tuple[list[TrueFrame], list[Instances]]:
    """The frames that reached the detector, and what the tracker showed on them."""
    rng = np.random.default_rng(seed)
    frames = keep_frames(list(truth), noise, rng)
    tracker = Tracker(settings, HIGH_SCORE)
    return frames, [tracker.update(frame.pts_s, detect(frame, noise, rng), SIZE_HW) for frame in frames]


def quality(truth: Sequence[TrueFrame], seeds: int, settings: TrackingSettings, noise: Noise) -> str:
    """One line of scores: means over the seeds, the worst in brackets."""
    scores = [evaluate(*shown_by_tracker(truth, seed, settings, noise)) for seed in range(1, seeds + 1)]

    def of(pick: Callable[[Scores], float]) -> list[float]:
        return [pick(score) for score in scores]

    hota, idf1 = of(lambda s: s.hota), of(lambda s: s.idf1)
    switches, ids = of(lambda s: s.id_switches), of(lambda s: s.ids)
    return (
        f"HOTA {np.mean(hota):.3f} ({min(hota):.3f})  IDF1 {np.mean(idf1):.3f} ({min(idf1):.3f})  "
        f"switches {np.mean(switches):4.1f} ({max(switches):.0f})  ids {np.mean(ids):4.1f}  "
        f"MOTA {np.mean(of(lambda s: s.mota)):.3f}  mask IoU {np.mean(of(lambda s: s.overlap)):.3f}"
    )


def cost_ms(objects: int, frames: int = 150) -> tuple[float, float]:
    """Milliseconds of processor time for a frame: median and 95th percentile."""
    rng = np.random.default_rng(0)
    tracker, numbers = Tracker(TrackingSettings(), HIGH_SCORE), np.arange(objects)
    x, y = 60 + numbers % 10 * 110.0, 70 + numbers // 10 * 90.0
    durations_s = []
    for k in range(frames):
        centers = np.stack([x + 40 * np.sin(k / 25 + numbers), y + 15 * np.cos(k / 20 + numbers)], axis=1)
        half = np.array([30.0, 50.0]) + rng.normal(0, 1, (objects, 2))
        found = Instances(
            np.concatenate([centers - half, centers + half], axis=1).astype(np.float32),
            (1 + numbers % 3).astype(np.int32),
            np.linspace(0.99, 0.7, objects, dtype=np.float32),
            rng.uniform(0.3, 0.9, (objects, 28, 28)).astype(np.float32),
        )
        began_s = time.thread_time()
        tracker.update(k / 30, found, (720, 1280))
        durations_s.append(time.thread_time() - began_s)
    median, p95 = np.quantile(durations_s[10:], [0.5, 0.95])
    return 1000 * float(median), 1000 * float(p95)


def write_pictures(truth: Sequence[TrueFrame], folder: Path) -> None:
    """Frames with what the tracker shows on them, colored by track."""
    folder.mkdir(parents=True, exist_ok=True)
    overlay = Overlay(OverlaySettings(color_by=ColorBy.TRACK), LABELS)
    frames, shown = shown_by_tracker(truth, 1, TrackingSettings(), Noise())
    for frame, instances in list(zip(frames, shown, strict=True))[::PICTURE_EVERY]:
        cv2.imwrite(str(folder / f"{frame.index:04d}.png"), overlay.draw(render(frame), instances))


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality and cost of tracking.")
    parser.add_argument("--seeds", type=int, default=6, metavar="N", help="runs with other noise (default 6)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write frames with ids and masks drawn")
    arguments = parser.parse_args()
    truth, seeds = list(true_frames()), arguments.seeds
    print(f"quality, mean of {seeds} seeds (the worst)")
    rows = {
        "default": (TrackingSettings(), Noise()),
        "no smoothing": (TrackingSettings(smoothing=0.0), Noise()),
        "hold 0": (TrackingSettings(hold_s=0.0), Noise()),
        "no frame dropped": (TrackingSettings(), Noise(dropped=0.0)),
        "70 % dropped": (TrackingSettings(), Noise(dropped=0.7)),
        "perfect detector": (TrackingSettings(), Noise(0.0, 0.0, 0.0, 0.0, 0.0)),
    }
    for name, (settings, noise) in rows.items():
        print(f"  {name:18} {quality(truth, seeds, settings, noise)}", flush=True)
    with motion_switched_off():
        print(f"  {'motion model off':18} {quality(truth, seeds, TrackingSettings(), Noise())}", flush=True)
    print("cost, processor time a frame")
    for objects in (1, 10, 20, 50, 100):
        median, p95 = cost_ms(objects)
        print(f"  {objects:3} objects: p50 {median:.2f} ms, p95 {p95:.2f} ms", flush=True)
    if arguments.pictures:
        write_pictures(truth, arguments.pictures)


if __name__ == "__main__":
    main()
