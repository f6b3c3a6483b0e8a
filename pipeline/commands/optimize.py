"""The command `optimize`: prepares the int8 network for OpenVINO and measures its speed and accuracy."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.coco.average_precision import Kind, PairedDifference, paired_difference
from pipeline.commands.program import (
    MODEL_FLAGS,
    VERBOSE_FLAG,
    Parser,
    overrides_from,
    set_up_logging,
    whole_number,
)
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.evaluation.agreement import Agreement, mask_agreement
from pipeline.evaluation.loss_bound import Trade, keep_until_within
from pipeline.evaluation.scoring import Evaluation, GroundTruth, evaluate, image_paths, match_classes, read_ground_truth
from pipeline.installation import install_command, program_name, shipped_file
from pipeline.segmentation.canvas import fit_canvas
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import NetworkModel
from pipeline.settings.loading import load_settings
from pipeline.settings.messages import KeyPath
from pipeline.settings.model_settings import EngineKind, ModelSettings, Precision
from pipeline.settings.schema import Settings
from pipeline.sources.factory import sample_frames, spread_frames

if TYPE_CHECKING:
    from mrcnn.engines.calibration import Calibration, LayerGroup

logger = logging.getLogger("pipeline.commands.optimize")

ENOUGH_FRAMES = 1000
SAMPLE = shipped_file("samples/people.mp4")
LAYER_GROUPS = 8
"""Number of groups in which layers are kept in higher precision: each group is evaluated at least once."""


def _points(text: str) -> float:
    try:
        points = float(text)
    except ValueError:
        points = -1.0
    if not 0.0 <= points <= 100.0:
        raise argparse.ArgumentTypeError(f"expected points of mask AP, 0 to 100, got {text!r}")
    return points


FLAGS: dict[str, dict[str, Any]] = {
    "--source": {"metavar": "URI", "help": "camera, video, folder of images to calibrate on (the sample)"},
    "--frames": {
        "metavar": "N",
        "type": partial(whole_number, least=2, most=1000),
        "default": 32,
        "help": "how many (default: %(default)s)",
    },
    "--check": {
        "metavar": "N",
        "type": partial(whole_number, least=1),
        "default": ENOUGH_FRAMES,
        "help": "on how many other frames to compare int8 with float32 (default: %(default)s)",
    },
    "--images": {"metavar": "DIR", "type": Path, "help": "annotated images, to compare the AP of both as well"},
    "--annotations": {"metavar": "FILE", "type": Path, "help": "their COCO instances, .json"},
    "--most-loss": {
        "metavar": "POINTS",
        "type": _points,
        "help": "with annotated images: keep layers in higher precision until int8 loses no more mask AP than this",
    },
    "--verbose": VERBOSE_FLAG,
}
ENOUGH_MATCHES, MATCH_IOU = 0.97, 0.9
"""int8 may be chosen for its speed if this share of the objects on ENOUGH_FRAMES frames match, with this mask IoU …"""
MOST_LOSS = 0.015
"""… or if annotated images exclude such a loss of mask AP, 0 … 1."""
ENOUGH_IMAGES = 30
"""The bootstrap's interval means little for fewer: that of a single image has no width."""
MIN_SCORE = 0.03
"""Least score of detections that count in AP, as in `evaluate`."""

Images = Sequence[NDArray[np.uint8]]


def run(argv: Sequence[str]) -> int:
    """Calibrate, write, compare; return the exit code."""
    parser = Parser(
        prog=f"{program_name()} optimize",
        description="Prepares the int8 network for the engine openvino, calibrated on frames like those to segment. "
        "Later runs use it automatically (model.precision auto); --precision float32 does not.",
        allow_abbrev=False,
    )
    parser.add_flags("frames", FLAGS)
    parser.add_settings("network", MODEL_FLAGS[:5])
    arguments = parser.parse_args(argv)
    set_up_logging(arguments.verbose)
    if arguments.source is None and not SAMPLE.is_file():
        raise InputError("the sample video is not there: name a video, camera or folder of images with --source")
    source: dict[KeyPath, tuple[str, Any]] = {
        ("source", "uri"): ("--source", str(SAMPLE) if arguments.source is None else arguments.source)
    }
    settings = load_settings(None, source | overrides_from(arguments))
    if importlib.util.find_spec("nncf") is None:
        raise InputError(f"int8 needs the package nncf: {install_command('optimize')}")
    if (arguments.images is None) != (arguments.annotations is None):
        raise InputError("--images and --annotations are given together")
    if arguments.most_loss is not None and arguments.annotations is None:
        raise InputError("--most-loss is measured on annotated images: name them with --images and --annotations")
    model = MaskRCNNSegmenter.of(_with(settings.model, Precision.FLOAT32)).model
    truth = None if arguments.annotations is None else read_ground_truth(arguments.annotations)
    if truth is not None:
        image_paths(truth, arguments.images)
        match_classes(model.labels, truth, ())
    images = sample_frames(settings.source, arguments.frames)
    if len(images) < 2:
        raise InputError(f"{settings.source.uri} has {len(images)} frames: 2 or more are needed")
    calibration = _calibrated(model, images, settings.source.uri.name)
    with _older_one_kept(model) as put_back:
        return _compare_and_write(model, calibration, images, settings, arguments, truth, put_back)


def _compare_and_write(
    model: NetworkModel,
    calibration: Calibration,
    images: Images,
    settings: Settings,
    arguments: argparse.Namespace,
    truth: GroundTruth | None,
    put_back: Callable[[], Path | None],
) -> int:
    _write(model, calibration)
    compare = None
    if truth is not None and arguments.most_loss is not None:
        compare = _Comparison(settings.model, truth, arguments.images)
        calibration = _bounded(model, calibration, arguments.most_loss / 100, compare)
    facts = dict(calibration.facts)
    known = {image.tobytes() for image in images}
    spread = spread_frames(settings.source, arguments.check + len(images))
    others = (image for image in spread if image.tobytes() not in known)
    facts |= _compared(settings.model, itertools.islice(others, arguments.check))
    if truth is not None:
        compare = compare or _Comparison(settings.model, truth, arguments.images)
        facts |= compare.facts()
    facts["admissible"] = _is_admissible(facts)
    path = _write(model, replace(calibration, facts=facts))
    if not facts["admissible"] and (older := put_back()) is not None:
        print(
            f"int8 calibration: {older} stays as it was: it is admissible, the new one is not; delete it to replace it"
        )
        return 0
    print(f"int8 calibration: {path}")
    print(_verdict(facts))
    return 0


@contextlib.contextmanager
def _older_one_kept(model: NetworkModel) -> Iterator[Callable[[], Path | None]]:
    """Bring back the calibration that was there before if the comparison of the new one is interrupted.

    Gives what brings it back if it is admissible, and returns its path then.
    """
    from mrcnn.engines.calibration import CalibrationFault, found_calibration, read_calibration
    from mrcnn.weights.whole_file import write_whole

    before, was_admissible = found_calibration(model.weights.path), False
    content = b"" if before is None else before.read_bytes()
    with contextlib.suppress(CalibrationFault):  # it is not there, damaged, or of other weights
        was_admissible = read_calibration(model.weights.path).is_admissible

    def put_back() -> Path | None:
        now = found_calibration(model.weights.path)
        if now is not None and now != before:
            now.unlink()
        if before is not None:
            write_whole(before, content)
        return before

    try:
        yield lambda: put_back() if was_admissible else None
    except StreamSegmentError:
        raise  # it is written as its message says
    except BaseException:
        put_back()
        raise


def _with(model: ModelSettings, precision: Precision) -> ModelSettings:
    return model.model_copy(update={"engine": EngineKind.OPENVINO, "precision": precision})


def _calibrated(model: NetworkModel, images: Images, source: str) -> Calibration:
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.quantize import quantize

    weights, config = model.weights.path, model.config
    fits = [fit_canvas(image.shape[0], image.shape[1], config, model.settings.canvas) for image in images]
    canvases = [fit.place(image) for fit, image in zip(fits, images, strict=True)]
    logger.info("calibrating %s on %d frames of %s", weights.name, len(canvases), source)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # NNCF's progress
            return quantize(weights, config, canvases, [fit.window for fit in fits])
    except EngineError as error:
        raise RunError(str(error)) from None


def _write(model: NetworkModel, calibration: Calibration) -> Path:
    from mrcnn.engines.calibration import write_calibration

    weights = model.weights.path
    try:
        return Path(write_calibration(weights, calibration))
    except OSError as error:
        raise RunError(f"the int8 calibration of {weights} cannot be written: {error.strerror or error}") from None


def _compared(model: ModelSettings, images: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
    """Objects of both precisions on frames, by the overlap of their masks; printed, and returned for the file."""
    same, frames = Agreement(0, 0, 0), 0
    times: dict[Precision, list[float]] = {Precision.FLOAT32: [], Precision.INT8: []}
    with contextlib.ExitStack() as stack:
        segmenters = {precision: stack.enter_context(_opened(_with(model, precision))) for precision in times}
        for image in images:
            found = []
            for precision, segmenter in segmenters.items():
                started = time.perf_counter()
                found.append(segmenter.segment_batch([image])[0])
                times[precision].append(1000 * (time.perf_counter() - started))
            same += mask_agreement(found[0], found[1], image.shape[:2], MATCH_IOU)
            frames += 1
    if not same.expected + same.found:
        print(f"on {frames} other frames neither float32 nor int8 found anything to compare")
    else:
        print(
            f"on {frames} other frames {same.f1:.1%} of the objects match (class, mask IoU at least {MATCH_IOU}): "
            f"float32 found {same.expected}, int8 {same.found}, both {same.matched}"
        )
    if frames:
        exact_ms, int8_ms = (statistics.median(taken) for taken in times.values())
        print(f"time a frame: float32 {exact_ms:.0f} ms, int8 {int8_ms:.0f} ms, {exact_ms / int8_ms:.1f} times as fast")
    return {"frames": frames, "objects": same.expected, "found": same.found, "matched": same.matched}


class _Comparison:
    """Compares int8 with float32, which is evaluated once, on annotated images."""

    def __init__(self, model: ModelSettings, truth: GroundTruth, images: Path) -> None:
        self._model = model.model_copy(update={"min_score": MIN_SCORE})
        self._truth, self._images = truth, images
        self._exact = self._evaluated(Precision.FLOAT32)

    def int8(self) -> tuple[Evaluation, PairedDifference]:
        """The int8 network as its calibration says now, and its difference from float32."""
        int8 = self._evaluated(Precision.INT8)
        found = self._exact.found, int8.found
        return int8, paired_difference(self._truth.annotations, *found, list(self._exact.classes.names))

    def facts(self) -> dict[str, Any]:
        """Mask AP of both precisions, and the interval of the difference; printed, and returned for the file."""
        int8, apart = self.int8()
        exact_ap, int8_ap = (one.by_area[Kind.MASK.value]["all"].ap for one in (self._exact, int8))
        print(
            f"mask AP on {self._exact.images} images: float32 {exact_ap:.3f}, int8 {int8_ap:.3f}; difference "
            f"{apart.mean:+.4f}, 95 % interval {apart.low:+.4f} to {apart.high:+.4f}"
        )
        return {"images": self._exact.images, "ap": [exact_ap, int8_ap], "ap_interval": [apart.low, apart.high]}

    def _evaluated(self, precision: Precision) -> Evaluation:
        with _opened(_with(self._model, precision)) as segmenter:
            return evaluate(segmenter, self._truth, self._images)


def _bounded(model: NetworkModel, calibration: Calibration, most_loss: float, compare: _Comparison) -> Calibration:
    """The calibration with as many layers left out as the bound of the loss demands; it is written."""
    from mrcnn.engines.calibration import layer_groups, without

    def with_kept(kept: Sequence[LayerGroup]) -> Calibration:
        facts = {"higher_precision": [str(group) for group in kept], "most_loss": most_loss}
        return replace(without(calibration, kept), facts={**calibration.facts, **facts})

    def measured(kept: Sequence[LayerGroup]) -> Trade:
        _write(model, with_kept(kept))
        int8, apart = compare.int8()
        return Trade(-apart.mean, int8.image_ms)

    def tell(kept: Sequence[LayerGroup], trade: Trade) -> None:
        what = f"all but {', '.join(map(str, kept))}" if kept else "all layers"
        print(f"int8 in {what}: {-100 * trade.loss:+.2f} points of mask AP, {trade.image_ms:.1f} ms an image")

    groups = layer_groups(calibration, LAYER_GROUPS)
    kept = keep_until_within(most_loss, groups, measured, tell)
    if kept is None:
        _write(model, calibration)
        raise RunError(
            f"on these images no choice of layers loses at most {100 * most_loss:g} points: what is left is rounding "
            "outside int8; give more images or a larger bound. int8 is prepared in all layers"
        )
    chosen = with_kept(kept)
    _write(model, chosen)
    return chosen


def _is_admissible(facts: Mapping[str, Any]) -> bool:
    """Whether int8 is as good as float32 as far as its speed alone may choose it; see ENOUGH_MATCHES and MOST_LOSS."""
    if facts.get("images", 0) >= ENOUGH_IMAGES and facts["ap_interval"][0] > -MOST_LOSS:
        return True
    total = facts["objects"] + facts["found"]
    return bool(facts["frames"] >= ENOUGH_FRAMES and total > 0 and 2 * facts["matched"] / total >= ENOUGH_MATCHES)


def _verdict(facts: Mapping[str, Any]) -> str:
    if facts["admissible"]:
        return "runs with precision auto take int8 where it is the fastest"
    return (
        "runs with precision auto do not take int8, --precision int8 does: that needs "
        f"{ENOUGH_MATCHES:.0%} matching objects on {ENOUGH_FRAMES} frames (--source, --check), or {ENOUGH_IMAGES} "
        f"annotated images that exclude a loss of {100 * MOST_LOSS:g} points of mask AP (--images, --annotations)"
    )


@contextlib.contextmanager
def _opened(settings: ModelSettings) -> Iterator[MaskRCNNSegmenter]:
    segmenter = MaskRCNNSegmenter.of(settings)
    segmenter.open()
    with contextlib.closing(segmenter):
        yield segmenter
