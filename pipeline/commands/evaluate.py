"""The command `evaluate`: measures box and mask AP of weights on annotated images."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from mrcnn.weights.digest import sha256_of
from mrcnn.weights.whole_file import write_whole
from pipeline.commands.program import (
    MODEL_FLAGS,
    SET_FLAG,
    VERBOSE_FLAG,
    Parser,
    names,
    overrides_from,
    set_up_logging,
    whole_number,
)
from pipeline.console.progress import CountProgress
from pipeline.errors import InputError, RunError
from pipeline.evaluation.scoring import Evaluation, GroundTruth, evaluate, image_paths, match_classes, read_ground_truth
from pipeline.evaluation.tables import tables
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.weights_file import find_weights
from pipeline.settings.loading import load_settings
from pipeline.settings.schema import Settings
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.version import __version__

logger = logging.getLogger("pipeline.commands.evaluate")

MIN_SCORE = 0.03
"""Default of the least score: AP needs detections of low scores too."""

PACKAGES = (
    "numpy",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "openvino",
    "onnxruntime",
    "pycocotools",
    "opencv-contrib-python",
)
"""Packages whose versions the JSON file lists, where they are installed."""

FLAGS: dict[str, dict[str, Any]] = {
    "--images": {"metavar": "DIR", "type": Path, "required": True, "help": "folder of the images"},
    "--annotations": {"metavar": "FILE", "type": Path, "required": True, "help": "COCO instances, .json"},
    "--classes": {
        "metavar": "A,B",
        "type": names,
        "default": (),
        "help": "evaluate only these classes, by name or id",
    },
    "--limit": {
        "metavar": "N",
        "type": partial(whole_number, least=1),
        "help": "only the first N images of the file",
    },
    "--json": {"metavar": "FILE", "help": "also write the numbers to this file"},
    "--overwrite": {"action": "store_true", "help": "replace an existing --json file"},
    "--set": SET_FLAG
    | {"help": "any setting of the model, such as model.nms_threshold=0.5, or overlay.mask_threshold"},
    "--verbose": VERBOSE_FLAG,
}
SETTING_FLAGS = (
    *MODEL_FLAGS,
    ("--min-score", "model.min_score", "0..1", f"least score of a detection that counts (default {MIN_SCORE})"),
)


def run(argv: Sequence[str]) -> int:
    """Evaluate, print the tables, write the numbers; return the exit code."""
    parser = Parser(
        prog=f"{program_name()} evaluate",
        description="COCO box and mask average precision on annotated images, through the code that segments video.",
        allow_abbrev=False,
    )
    parser.add_flags("data and result", FLAGS)
    parser.add_settings("network", SETTING_FLAGS)
    arguments = parser.parse_args(argv)
    set_up_logging(arguments.verbose)
    settings = settings_from(arguments)
    weights = find_weights(settings.model.weights)
    truth = read_ground_truth(arguments.annotations, arguments.limit)
    images = image_paths(truth, arguments.images).values()
    outputs = Outputs(
        Inputs.of([arguments.annotations, weights.path, settings.model.labels, *images]), arguments.overwrite
    )
    json_path = None if arguments.json is None else user_path(arguments.json, "--json")
    if json_path is not None:
        outputs.claim_file(json_path, "--json")
    segmenter = MaskRCNNSegmenter.of(settings.model)
    unmatched = match_classes(segmenter.labels, truth, arguments.classes).unmatched_text()
    ignored = f"{truth.without_area} annotations left out: no area inside the image" if truth.without_area else None
    for text in filter(None, (unmatched, ignored, *truth.file.warnings.lines())):
        logger.info("%s", text)
    segmenter.open()
    with contextlib.closing(segmenter), CountProgress("images", len(truth.images)) as progress:
        evaluation = evaluate(
            segmenter,
            truth,
            arguments.images,
            classes=arguments.classes,
            mask_threshold=settings.overlay.mask_threshold,
            on_image=lambda done, _: progress.set(done),
        )
        description = segmenter.description
    _print(evaluation, description, settings.model.min_score)
    if json_path is not None:
        record = report(evaluation, truth, settings, weights.path, description)
        print(f"written: {write_json(outputs, json_path, record)}")
    return 0


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The defaults, overridden by the command line; config.yaml is not read. Raises InputError."""
    overrides = {("model", "min_score"): ("--min-score", MIN_SCORE)} | overrides_from(arguments)
    for key_path in overrides:
        if key_path == ("model", "classes") or (key_path[0] != "model" and key_path != ("overlay", "mask_threshold")):
            key = ".".join(key_path)
            raise InputError(f"--set {key}: only the model's settings and overlay.mask_threshold change a measurement")
    return load_settings(None, overrides)


def report(
    evaluation: Evaluation, truth: GroundTruth, settings: Settings, weights: Path, description: str
) -> dict[str, Any]:
    """What `--json` writes: the numbers, and everything that is needed to reproduce them."""
    return {
        "weights": {"file": weights.name, "sha256": sha256_of(weights)},
        "model": description,
        "annotations": {
            "file": truth.file.path.name,
            "sha256": sha256_of(truth.file.path),
            "images": len(truth.images),
            "objects_without_area": truth.without_area,
        },
        "settings": {
            "model": settings.model.model_dump(mode="json"),
            "overlay": {"mask_threshold": settings.overlay.mask_threshold},
        },
        "versions": {"stream_segment": __version__, "python": platform.python_version(), **_installed()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **evaluation.record(),
    }


def write_json(outputs: Outputs, path: Path, record: dict[str, Any]) -> Path:
    """Write a claimed JSON file atomically; return the name that it got.

    Raises:
        RunError: it cannot be written (disk full …).
    """
    try:
        name = outputs.name_of(path)
        write_whole(name, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        outputs.release(path)
        raise RunError(f"writing {path} failed: {error.strerror or error}") from error
    return name


def _print(evaluation: Evaluation, description: str, min_score: float | None) -> None:
    console = Console(file=sys.stdout, highlight=False)
    console.print(description, markup=False, soft_wrap=True)
    crowds = f" and {evaluation.crowds} crowd regions" if evaluation.crowds else ""
    console.print(
        f"{evaluation.images} images with {evaluation.objects} objects{crowds}; {evaluation.detections} detections "
        f"of at least {min_score:g}; {evaluation.image_ms:.0f} ms an image (median)",
        soft_wrap=True,
    )
    for table in tables(evaluation):
        console.print(table)


def _installed() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
