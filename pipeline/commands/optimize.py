"""The command `optimize`: prepares the int8 network for OpenVINO and measures its speed and accuracy."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.commands.program import (
    MODEL_FLAGS,
    VERBOSE_FLAG,
    Parser,
    overrides_from,
    set_up_logging,
    whole_number,
)
from pipeline.errors import InputError, RunError
from pipeline.evaluation.agreement import agreement
from pipeline.installation import install_command, program_name, shipped_file
from pipeline.records import Instances
from pipeline.segmentation.canvas import fit_canvas
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings.loading import KeyPath, load_settings
from pipeline.settings.model_settings import EngineKind, ModelSettings, Precision
from pipeline.sources.factory import sample_frames

logger = logging.getLogger("pipeline.commands.optimize")

SAMPLE = shipped_file("samples/people.mp4")
FLAGS: dict[str, dict[str, Any]] = {
    "--source": {"metavar": "URI", "help": "camera, video, folder of images to calibrate on (the sample)"},
    "--frames": {
        "metavar": "N",
        "type": partial(whole_number, least=2, most=1000),
        "default": 32,
        "help": "how many (default: %(default)s)",
    },
    "--verbose": VERBOSE_FLAG,
}
CHECK_SHARE = 4
"""Every fourth frame is held out to compare the precisions on."""
MIN_RECALL = 0.8
"""Share of the float32 objects below which the command warns about int8."""

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
    source: dict[KeyPath, tuple[str, Any]] = {("source", "uri"): ("--source", arguments.source or str(SAMPLE))}
    settings = load_settings(None, source | overrides_from(arguments))
    if importlib.util.find_spec("nncf") is None:
        raise InputError(f"int8 needs the package nncf: {install_command('optimize')}")
    segmenter = MaskRCNNSegmenter.of(_with(settings.model, Precision.FLOAT32))
    images = sample_frames(settings.source, arguments.frames)
    if len(images) < 2:
        raise InputError(f"{settings.source.uri} has {len(images)} frames: 2 or more are needed")
    checked = images[CHECK_SHARE - 1 :: CHECK_SHARE] or images[-1:]
    calibrating = [image for image in images if not any(image is one for one in checked)]
    _quantize(segmenter, settings.model, calibrating, settings.source.uri.name)
    _compare(settings.model, checked)
    return 0


def _with(model: ModelSettings, precision: Precision) -> ModelSettings:
    return model.model_copy(update={"engine": EngineKind.OPENVINO, "precision": precision})


def _quantize(segmenter: MaskRCNNSegmenter, model: ModelSettings, images: Images, source: str) -> None:
    from mrcnn.engines.base import EngineError
    from mrcnn.engines.quantize import quantize

    weights, config = segmenter.model.weights.path, segmenter.model.config
    fits = [fit_canvas(image.shape[0], image.shape[1], config, model.canvas) for image in images]
    canvases = [fit.place(image) for fit, image in zip(fits, images, strict=True)]
    logger.info("calibrating %s on %d frames of %s", weights.name, len(canvases), source)
    started = time.monotonic()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # NNCF's progress
            folder = quantize(weights, config, canvases, [fit.window for fit in fits])
    except EngineError as error:
        raise RunError(str(error)) from None
    print(f"int8 network: {folder}, made in {time.monotonic() - started:.0f} s")


def _compare(model: ModelSettings, images: Images) -> None:
    exact, exact_ms = _segment(_with(model, Precision.FLOAT32), images)
    quick, quick_ms = _segment(_with(model, Precision.INT8), images)
    same = agreement(exact, quick)
    found = f"on {len(images)} other frames float32 found nothing to compare with"
    if same.expected:
        found = (
            f"on {len(images)} other frames int8 found {same.matched} of the {same.expected} objects that float32 "
            f"found ({same.recall:.0%}) and {same.found - same.matched} others"
        )
    print(found)
    print(f"time a frame: float32 {exact_ms:.0f} ms, int8 {quick_ms:.0f} ms, {exact_ms / quick_ms:.1f} times as fast")
    if same.recall < MIN_RECALL:
        logger.warning(
            "int8 finds other objects than float32 here: calibrate on more frames like those to segment "
            "(--source, --frames), or run with --precision bfloat16 or float32"
        )


def _segment(settings: ModelSettings, images: Images) -> tuple[list[Instances], float]:
    """The objects of each image, and the median time per image, milliseconds."""
    segmenter = MaskRCNNSegmenter.of(settings)
    segmenter.open()
    with contextlib.closing(segmenter):
        found = [segmenter.segment_batch([image])[0] for image in images]  # compiles for every size
        times = []
        for image in images[:8]:
            started = time.perf_counter()
            segmenter.segment_batch([image])
            times.append(1000 * (time.perf_counter() - started))
        return found, statistics.median(times)
